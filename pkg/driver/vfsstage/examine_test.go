package vfsstage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestExamine: a dead mount is told from one that is well, and from a volume of which nothing is here.
func TestExamine(t *testing.T) {
	r := newRig(t)
	_, err := r.Examine(volumeID, r.staging, r.a)
	r.want(err, volume.NotFound, "not on this node")
	r.must(r.stage(use(nil)))
	r.must(r.publish(use(nil), r.a))
	if got, err := r.Examine(volumeID, r.staging, r.a); err != nil || len(got) != 0 {
		t.Errorf("one that is well: %+v, %v", got, err)
	}
	r.must(unix.Unmount(r.a, 0))
	r.dead(r.a)
	got, err := r.Examine(volumeID, r.staging, r.a)
	if err != nil || len(got) != 1 || got[0].Severity != volume.Inaccessible || got[0].Reason != "MountDead" || !strings.Contains(got[0].Message, r.a) {
		t.Errorf("a dead one: %+v, %v", got, err)
	}
}

// listed is a machine whose kernel lists these mounts as shared file systems.
type listed struct{ tags }

func (listed) TagOf(_ mount.Table, e mount.Entry) (tag string, shared bool) {
	return e.Source, e.FSType == "tmpfs" && strings.HasPrefix(e.Source, "7")
}

// TestExamineByTag: without paths, the mounts of the volume's tag are looked at; one of another tag in its place is told.
func TestExamineByTag(t *testing.T) {
	r := newRig(t)
	r.must(r.stage(use(nil)))
	r.tags = listed{r.tags}
	for path, source := range map[string]string{r.a: tag, r.b: other} {
		r.must(mount.MakeDir(path))
		r.must(unix.Mount(source, path, "tmpfs", 0, ""))
	}
	if got, err := r.Examine(volumeID); err != nil || len(got) != 0 {
		t.Errorf("all that has its tag is well: %+v, %v", got, err)
	}
	got, err := r.Examine(volumeID, r.a, r.b)
	if err != nil || len(got) != 1 || got[0].Reason != "WrongFileSystem" || !strings.Contains(got[0].Message, other) {
		t.Errorf("another one at a pod's path: %+v, %v", got, err)
	}
	r.dead(r.a) // on top
	if got, err := r.Examine(volumeID, r.a); err != nil || len(got) != 1 || got[0].Reason != "MountDead" {
		t.Errorf("a dead one on top: %+v, %v", got, err)
	}
}

// TestUnstageOfWhatPodsHave: the staging path has nothing any more, and a pod still has the file system. To let it be detached would
// take it from the pod.
func TestUnstageOfWhatPodsHave(t *testing.T) {
	r := newRig(t)
	r.show(tag)
	r.show(other)
	r.must(r.stage(use(nil)))
	r.must(r.publish(use(nil), r.a))
	r.must(unix.Unmount(r.staging, 0)) // by somebody else
	r.must(os.MkdirAll(r.b, 0o700))
	r.must(mount.Bind(filepath.Join(r.dir, "vfs", other), r.b, false)) // another volume's pod
	for range 2 {
		r.want(r.unstage(), volume.InUse, volumeID, r.a)
	}
	if record, err := r.cfg.State.Staged(volumeID); err != nil || record == nil {
		t.Errorf("the record is %+v, %v", record, err)
	}
	r.must(r.Unpublish(t.Context(), volumeID, r.a))
	for range 2 {
		r.must(r.unstage())
	}
	if record, err := r.cfg.State.Staged(volumeID); err != nil || record != nil {
		t.Errorf("left is the record %+v, %v", record, err)
	}
}
