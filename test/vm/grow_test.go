package vm

import "testing"

// TestGrowsWhileMounted: the disk grows under a mounted file system that a pod uses, and so does the file system.
// Machines whose kernel refuses this to containers have this as their only proof.
func TestGrowsWhileMounted(t *testing.T) {
	const size = 3 * gib
	for fsType := range checkers {
		t.Run(fsType, func(t *testing.T) {
			r := newRig(t, mounted(fsType))
			r.plug()
			r.must(r.stage())
			r.must(r.publish(r.target))
			r.write(r.target, "file", "data")
			p := r.open(r.target, "held")
			r.must(shared.machine.Resize(r.soon(), r.disk, size))
			for _, path := range []string{r.target, r.staging} {
				if got, err := r.expand(path, size); err != nil || got != size {
					t.Errorf("expanding at %s: %d, %v", path, got, err)
				}
			}
			total, err := r.total(r.target)
			r.must(err)
			// The file system keeps a part for itself.
			if total < size*9/10 {
				t.Errorf("it has %d bytes of %d", total, size)
			}
			if errno := p.write("data"); errno != 0 {
				t.Error(errno)
			}
			p.end()
			r.wantFile(r.target, "file", "data")
			r.must(r.unpublish(r.target))
			r.must(r.unstage())
			r.sound(fsType)
		})
	}
}

// TestGrownWhileUnplugged: the disk was made larger elsewhere; staging grows the file system.
func TestGrownWhileUnplugged(t *testing.T) {
	const size = 3 * gib
	// Linux before 6.7, as the guest has it, mounts no btrfs beside what a pod has of it, even if that is dead.
	for _, fsType := range []string{"ext4", "xfs"} {
		t.Run(fsType, func(t *testing.T) {
			r := newRig(t, mounted(fsType))
			r.plug()
			r.must(r.stage())
			r.must(r.publish(r.target))
			r.write(r.target, "file", "data")
			r.unplug()
			r.must(r.disk.Resize(size))
			r.plug()
			r.device()
			r.must(r.publish(r.target))
			total, err := r.total(r.target)
			r.must(err)
			if total < size*9/10 {
				t.Errorf("it has %d bytes of %d", total, size)
			}
			r.wantFile(r.target, "file", "data")
		})
	}
}
