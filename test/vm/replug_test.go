package vm

import (
	"testing"

	"google.golang.org/grpc/codes"
)

// TestUnpluggedUnderIdleFileSystem: a disk is unplugged under a file system that nobody uses at the moment, and plugged
// in again, by whichever name. Whoever comes first, staging or publishing, brings it back, and nobody unstages by hand.
func TestUnpluggedUnderIdleFileSystem(t *testing.T) {
	for _, fsType := range []string{"xfs", "ext4"} {
		for _, first := range []string{"stage", "publish", "publish after a restart of the plugin"} {
			t.Run(fsType+", "+first, func(t *testing.T) {
				r := newRig(t, mounted(fsType))
				r.plug()
				r.must(r.stage())
				r.must(r.publish(r.target))
				r.write(r.target, "file", "data")
				before := r.device()
				r.unplug()
				_, err := r.total(r.target)
				want(t, err, codes.FailedPrecondition, "unplugged")
				want(t, r.publish(r.target), codes.FailedPrecondition, r.serial)

				r.plug()
				if now := r.device(); now == before {
					t.Errorf("the old device is in use, yet the disk is %s again", now)
				}
				_, err = r.total(r.target)
				want(t, err, codes.FailedPrecondition, "unplugged")
				switch first {
				case "stage":
					r.must(r.stage())
				case "publish":
				default:
					r.must(shared.agent.KillPlugin(r.soon()))
					r.must(shared.agent.StartPlugin(r.soon()))
				}
				r.must(r.publish(r.target))
				r.wantFile(r.target, "file", "data")
				r.write(r.target, "more", "data")
				_, err = r.total(r.target)
				r.must(err)
				r.must(r.unpublish(r.target))
				r.must(r.unstage())

				r.must(r.stage())
				r.must(r.publish(r.target))
				r.wantFile(r.target, "more", "data")
			})
		}
	}
}
