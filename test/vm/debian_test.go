package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/agent"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/guest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/qemu"
)

// rootSerial is the serial of the disk from which a Debian boots.
const rootSerial = "root"

// node is a guest with a Debian, systemd and udev, in which the node plugin runs in its container, from its image.
type node struct {
	*box

	container agent.Container
}

// newNode makes the disks and boots.
func newNode(t *testing.T) *node {
	t.Helper()
	needGuest(t)
	began := time.Now()
	cache, err := cacheDir()
	source, sourceErr := filepath.Abs("../..")
	if err := errors.Join(err, sourceErr); err != nil {
		t.Fatal(err)
	}
	root, err := guest.Debian(t.Context(), source, cache)
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "image.ext4")
	if err := guest.NodeImage(t.Context(), source, image); err != nil {
		t.Fatal(err)
	}
	var disks []*qemu.Disk
	for _, d := range []struct{ serial, path string }{{rootSerial, root}, {imageSerial, image}} {
		disk, err := qemu.Load(d.serial, d.path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = disk.Close() }) // gone with the test
		disks = append(disks, disk)
	}
	t.Logf("the disks were made after %.1f s", time.Since(began).Seconds())
	machine, err := qemu.Start(t.Context(), qemu.Config{
		Kernel: shared.image.Kernel, Initramfs: shared.image.Initramfs, Accelerator: shared.accelerator, Port: agent.Port,
		Parameters: guest.Root + "=" + rootSerial + " systemd.firstboot=off", Disks: disks, Resets: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := machine.Close(); err != nil {
			t.Error(err)
		}
	})
	n := &node{
		box:       &box{machine, agent.NewClient(machine.Port())},
		container: shippedContainer(t, "--region=ewr", "--node-id=3f2504e0-4f89-41d3-9a0c-0305e82c3301", "--plugin-registration-dir=", "--v=4"),
	}
	n.boots(t)
	return n
}

// boots waits until the Debian is up, and has the kubelet's part done: the plugin's container.
func (n *node) boots(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootPatience)
	defer cancel()
	began := time.Now()
	release, err := n.agent.Hello(ctx)
	up := time.Since(began)
	if err == nil {
		err = n.agent.StartContainer(ctx, n.container)
	}
	if err != nil {
		log, _ := n.agent.Read(ctx, guest.PluginLog) // if there is one, and the guest answers
		t.Fatalf("the node is not up: %v; its console: %s; the plugin's log: %s", err, n.machine.Console(), log)
	}
	t.Logf("a Debian with Linux %s was up after %.1f s, the plugin in its container after %.1f s", release, up.Seconds(), time.Since(began).Seconds())
}

// reset presses the node's reset button, whatever goes on, and returns when the plugin is up again. A call that was under way
// ends with it.
func (n *node) reset(r *rig, underWay ...<-chan error) {
	r.t.Helper()
	r.must(n.machine.Reset(r.soon()))
	next, err := n.agent.Again()
	r.must(err)
	for _, ended := range underWay {
		if err := <-ended; err == nil {
			r.t.Error("a call was over before the reset: it is not cut off by it")
		}
	}
	n.agent = next
	n.boots(r.t)
	r.NodeClient = csi.NewNodeClient(n.agent.CSI())
}

// probes has udev look at every disk, again and again, until the function that it returns is called: at all times somebody
// may have a disk open for a moment.
func (n *node) probes(r *rig) (stop func()) {
	over, ended := make(chan struct{}), make(chan int)
	go func() {
		looks := 0
		defer func() { ended <- looks }()
		for {
			select {
			case <-over:
				return
			default:
			}
			for _, args := range [][]string{{"udevadm", "trigger", "--action=change", "--subsystem-match=block"}, {"udevadm", "settle", "--timeout=10"}} {
				if _, err := n.agent.Run(r.soon(), args...); err != nil {
					if r.t.Context().Err() == nil { // else the test is over, for another reason
						r.t.Errorf("udev does not look: %v", err)
					}
					return
				}
			}
			looks++
		}
	}()
	stop = sync.OnceFunc(func() {
		close(over)
		r.t.Logf("udev has looked at all disks %d times", <-ended)
	})
	r.t.Cleanup(stop) // of a test that has failed
	return stop
}

// persists does something as the kubelet does, and says what it was told before it succeeded.
func (r *rig) persists(what string, call func() error) {
	r.t.Helper()
	r.until(func() error {
		err := call()
		if err != nil {
			r.t.Logf("%s: %v", what, err)
		}
		return err
	})
}

// upBesideUdev and downBesideUdev are up and down for a disk that somebody else looks at as well.
func (r *rig) upBesideUdev() {
	r.t.Helper()
	r.persists("stage", r.stage)
	r.must(r.publish(r.target))
}

func (r *rig) downBesideUdev() {
	r.t.Helper()
	r.must(r.unpublish(r.target))
	r.persists("unstage", r.unstage)
	r.isDown()
}

// inside is a command by which something is run in the plugin's container.
func inside(args ...string) []string {
	return append([]string{"runc", "exec", "--env=DM_DISABLE_UDEV=1", agent.ContainerName}, args...)
}

// opensInside checks which passphrases open the disk, by the image's cryptsetup: the node has none.
func (r *rig) opensInside(passphrases map[string]bool) {
	r.t.Helper()
	for p, want := range passphrases {
		r.must(r.agent.Write(r.soon(), filepath.Join(filepath.Dir(guest.NodeSocket), "key"), []byte(p)))
		result, err := r.agent.Run(r.soon(), inside(cryptsetup("open", "--test-passphrase", "--key-file=/csi/key", r.device())...)...)
		r.must(err)
		if (result.Code == 0) != want {
			r.t.Errorf("%q opens the disk: want %t, got %d: %s", p, want, result.Code, result.Output)
		}
	}
}

// isAsShipped checks that the plugin is in its container: its root is read-only, and what it runs comes from the image.
func (n *node) isAsShipped(r *rig) {
	r.t.Helper()
	var state struct{ Pid int }
	r.must(json.Unmarshal([]byte(r.run("runc", "state", agent.ContainerName)), &state))
	table, err := n.agent.Read(r.soon(), fmt.Sprintf("/proc/%d/mountinfo", state.Pid))
	r.must(err)
	if !strings.Contains(string(table), " / / ro,") || !strings.Contains(string(table), " - overlay overlay ") {
		r.t.Errorf("the container's root can be written to, or is not the image's: %s", table)
	}
	for _, tool := range []string{"cryptsetup", "mkfs.xfs"} {
		if result, err := n.agent.Run(r.soon(), tool, "--version"); err == nil {
			r.t.Errorf("the node has a %s of its own, and nothing shows that the image's is used: %s", tool, result.Output)
		}
	}
	r.run(inside("cryptsetup", "--version")...)
	r.run("udevadm", "settle")
	r.run("ls", "/dev/disk/by-id/virtio-"+r.serial) // which udev has made
}

// TestShippedPluginOnDebian is the life of an encrypted volume as on a real node: the node plugin runs from its image, in the
// container that its manifest describes, beside systemd and a udev that probes every disk all the time. The volume is staged,
// grown and closed under that. The machine is reset while a pod has the volume, and again while the passphrase is changed: what was
// flushed is there each time, and one passphrase opens the disk.
func TestShippedPluginOnDebian(t *testing.T) {
	n := newNode(t)
	id := uuid.NewString()
	r := newRigIn(t, n.box, mounted("xfs"), id, serialOf("ewr", id)).encrypted(firstKey, "")
	disk, err := qemu.NewDisk(r.serial, gib)
	if err != nil {
		t.Fatal(err)
	}
	r.disk = disk
	r.plug()
	r.device()
	n.isAsShipped(r)

	stop := n.probes(r)
	r.upBesideUdev()
	r.fill()
	r.downBesideUdev()
	r.upBesideUdev()
	r.intact(r.target)
	const size = 3 * gib
	r.must(r.machine.Resize(r.soon(), r.disk, size))
	r.persists("expand", func() error {
		got, err := r.expand(r.target, size)
		if err == nil && got != size {
			t.Errorf("it grew to %d", got)
		}
		return err
	})
	stop()

	n.reset(r)
	if mounts, open := r.mounts(), r.mappers(); mounts != 0 || len(open) > 0 {
		t.Errorf("after a reset there are %d mounts, and open are %q", mounts, open)
	}
	r.upBesideUdev()
	r.intact(r.target)
	if total, err := r.total(r.target); err != nil || total < (size-16<<20)*9/10 {
		t.Errorf("grown before the reset, it has %d bytes, %v", total, err)
	}
	r.downBesideUdev()

	r.encrypted(secondKey, firstKey)
	staged := r.meanwhile(r.stage)
	r.says(func() error { return r.publish(r.target) }, "opening the encrypted")
	n.reset(r, staged)
	stop = n.probes(r)
	r.upBesideUdev()
	r.intact(r.target)
	r.write(r.target, "more", "data")
	r.downBesideUdev()
	r.upBesideUdev()
	r.wantFile(r.target, "more", "data")
	r.downBesideUdev()
	stop()
	r.opensInside(map[string]bool{firstKey: false, secondKey: true})
	log, err := n.agent.Read(r.soon(), guest.PluginLog)
	r.must(err)
	if strings.Contains(string(log), "CANARY") || !strings.Contains(string(log), r.id) {
		t.Error("a passphrase is in the plugin's log, or nothing is")
	}
}
