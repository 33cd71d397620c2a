package simulator_test

import (
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// The attachments of an instance that is destroyed vanish with lag; file system and content stay.
func TestFileSystemOutlivesInstances(t *testing.T) {
	plane := newMemoryVFS()
	bubble(t, simulator.Config{FileSystems: plane}, func(w *world) {
		f := w.newVFS(10)
		i, j := w.server(simulator.NewServer{Label: "i"}), w.server(simulator.NewServer{Label: "j"})
		w.attachVFS(f, i).is(200)
		w.attachVFS(f, j).is(200)
		w.pass(5 * time.Second)
		late := w.newVFS(10)
		w.attachVFS(late, i).is(200) // not there yet when the instance goes
		w.delete("/v2/instances/" + i).is(204)
		w.get("/v2/instances/" + i).is(404)
		w.get(attachment(f, i)).is(200)
		w.delete("/v2/vfs/"+late).refused(409, stillAttached)
		w.pass(10 * time.Second)
		w.get(attachment(f, i)).is(404)
		w.get(attachment(f, j)).is(200).has("state", "ATTACHED")
		w.delete("/v2/vfs/" + late).is(204)
		w.vfs(f).has("status", "active")
		if len(plane.attached) != 1 || plane.attached[0].InstanceID != j {
			t.Errorf("published: %+v", plane.attached)
		}
	})
}

// A file system that something in the guest has mounted stays attached, and the holder is named.
func TestHeldFileSystem(t *testing.T) {
	plane := newMemoryVFS()
	bubble(t, simulator.Config{FileSystems: plane}, func(w *world) {
		f, i := w.newVFS(10), w.server(simulator.NewServer{Label: "i"})
		w.attachVFS(f, i).is(200)
		w.pass(5 * time.Second)
		plane.hold("mounted on /data")
		w.delete(attachment(f, i)).is(204)
		w.pass(time.Minute)
		w.get(attachment(f, i)).is(200)
		w.delete("/v2/vfs/"+f).refused(409, stillAttached)
		if got := w.sim.View().FileSystems[0].Attachments[0].Holder; got != "mounted on /data" {
			t.Errorf("the holder is %q", got)
		}
		plane.hold("")
		w.pass(5 * time.Second)
		w.get(attachment(f, i)).is(404)
		w.delete("/v2/vfs/" + f).is(204)
		w.pass(time.Second)
		if len(plane.dirs) != 0 {
			t.Errorf("content is left: %v", plane.dirs)
		}
	})
}

// What is on the machine is made what the state says, whatever was there.
func TestRecoveryOfFileSystems(t *testing.T) {
	plane := newMemoryVFS()
	var f, i, j string
	worlds(t, simulator.Config{FileSystems: plane}, func(w *world) {
		f = w.newVFS(10)
		i, j = w.server(simulator.NewServer{Label: "i"}), w.server(simulator.NewServer{Label: "j"})
		w.attachVFS(f, i).is(200)
		w.pass(5 * time.Second)
	}, func(w *world) {
		tag := plane.attached[0].MountTag
		w.get(attachment(f, i)).is(200).has("mount_tag", tag)
		// The machine as a kill or a reboot might leave it.
		plane.attached = []simulator.FileSystemAttachment{{ID: f, InstanceID: j, MountTag: 1}, {ID: nobody, InstanceID: j, MountTag: 2}}
		plane.dirs[nobody] = 1
	}, func(w *world) {
		tag, _ := w.get(attachment(f, i)).is(200).at("mount_tag").(float64)
		want := simulator.FileSystemAttachment{ID: f, InstanceID: i, MountTag: int(tag)}
		if len(plane.attached) != 1 || plane.attached[0] != want {
			t.Errorf("published after recovery: %+v, want %+v", plane.attached, want)
		}
		if len(plane.dirs) != 1 {
			t.Errorf("content after recovery: %v", plane.dirs)
		}
	})
}
