package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/node"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/disks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/vfs"
)

// kernel are machines that share one kernel: loop devices, directories, mounts, and the node plugin itself.
type kernel struct {
	t      *testing.T
	dir    string
	disks  *disks.Plane
	shares *vfs.Plane
	// pace is kept while the plugin works, and the planes work outside of the bubble.
	pace    pace
	outside *outside

	mu     sync.Mutex
	states map[string]*state.Store
}

// newKernel is called outside of the bubble.
func newKernel(t *testing.T) machines {
	t.Helper()
	k := &kernel{t: t, dir: t.TempDir(), states: map[string]*state.Store{}, outside: newOutside()}
	var err error
	k.disks, err = disks.New(filepath.Join(k.dir, "cloud"))
	k.must(err)
	k.shares, err = vfs.New(filepath.Join(k.dir, "cloud"))
	k.must(err)
	return k
}

func (k *kernel) must(err error) {
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *kernel) planes() (simulator.Disks, simulator.FileSystems) {
	return outerDisks{k.disks, k.outside}, outerShares{k.shares, k.outside}
}

// kubelet is the directory of an instance's kubelet.
func (k *kernel) kubelet(instance string) string { return filepath.Join(k.dir, "kubelets", instance) }

func (k *kernel) plugin(instance string) csi.NodeServer {
	k.must(k.disks.Prepare(instance))
	k.must(os.MkdirAll(k.kubelet(instance), 0o755))
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.states[instance] == nil {
		records, err := state.Open(filepath.Join(k.dir, "states", instance))
		k.must(err)
		k.states[instance] = records
	}
	dir := k.disks.InstanceDir(instance)
	return node.New(node.Config{
		Self: func(context.Context) (node.Self, error) {
			return node.Self{ID: instance, Region: region, MaxVolumes: 11}, nil
		},
		Finder: device.Finder{DeviceDir: filepath.Join(dir, "devices"), SysfsDir: filepath.Join(dir, "block")},
		VFSDir: filepath.Join(dir, "vfs"), State: k.states[instance], BootID: "the-boot-of-" + instance, KubeletRoot: k.kubelet(instance),
	})
}

func (k *kernel) paths(instance, volumeID string) (staging, target string) {
	return filepath.Join(k.kubelet(instance), "staging", volumeID), filepath.Join(k.kubelet(instance), "pod", volumeID)
}

func (*kernel) apart() bool { return false }

func (k *kernel) hold() (release func()) { return k.pace.hold() }

// growsInUse is false for ext4: this machine's kernel may refuse it (CAP_SYS_RESOURCE), and a stage grows it as well.
func (*kernel) growsInUse(fsType string) bool { return fsType != "ext4" }

// clones is false for btrfs: the machines share one kernel, which takes two disks of one UUID for one file system.
func (*kernel) clones(fsType string) bool { return fsType != "btrfs" }

// rawText is how much of a raw device a text takes.
const rawText = 4096

func (k *kernel) write(v *vol, u *use, text string) error {
	_, target := k.paths(u.node.id, v.id)
	path, flags, content := filepath.Join(target, "data"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, []byte(text)
	if v.fsType == "" && !v.shared {
		path, flags, content = target, os.O_WRONLY, append(content, make([]byte, rawText-len(content))...)
	}
	f, err := os.OpenFile(path, flags, 0o600) //nolint:gosec // the test's own
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil || v.fsType == "" {
		return err
	}
	dir, err := os.Open(target)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (k *kernel) read(v *vol, u *use) (string, error) {
	_, target := k.paths(u.node.id, v.id)
	if v.fsType == "" && !v.shared {
		f, err := os.Open(target)
		if err != nil {
			return "", err
		}
		content := make([]byte, rawText)
		_, err = f.ReadAt(content, 0)
		return string(bytes.TrimRight(content, "\x00")), errors.Join(err, f.Close())
	}
	content, err := os.ReadFile(filepath.Join(target, "data")) //nolint:gosec // the test's own
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return string(content), err
}

// kill unmounts what the instance has mounted: its pods are dead, and nothing is written back.
func (k *kernel) kill(instance string) error { return unmountAll(k.kubelet(instance)) }

func unmountAll(dir string) error {
	table, err := mount.Read()
	for _, e := range slices.Backward(table) {
		if strings.HasPrefix(e.Path, dir+"/") {
			err = errors.Join(err, unix.Unmount(e.Path, unix.MNT_DETACH))
		}
	}
	return err
}

// close is called outside of the bubble.
func (k *kernel) close() {
	defer k.outside.end()
	k.must(unmountAll(filepath.Join(k.dir, "kubelets")))
	ctx := context.Background()
	plugged, err := k.disks.Plugged(ctx)
	k.must(err)
	for id, instance := range plugged {
		k.must(k.disks.Unplug(ctx, id, instance))
	}
	k.must(k.shares.Release(ctx))
	k.must(os.RemoveAll(k.dir))
}

func (k *kernel) check(staged, published map[string][]*vol) error {
	table, err := mount.Read()
	if err != nil {
		return err
	}
	var should, is []string
	for _, e := range table {
		if strings.HasPrefix(e.Path, filepath.Join(k.dir, "kubelets")+"/") {
			is = append(is, e.Path)
		}
	}
	for instance := range staged {
		for _, v := range staged[instance] {
			if staging, _ := k.paths(instance, v.id); v.shared || v.fsType != "" {
				should = append(should, staging)
			}
		}
		for _, v := range published[instance] {
			_, target := k.paths(instance, v.id)
			should = append(should, target)
		}
	}
	slices.Sort(should)
	slices.Sort(is)
	if !slices.Equal(should, is) {
		return fmt.Errorf("mounted are\n%s\nand should be\n%s", strings.Join(is, "\n"), strings.Join(should, "\n"))
	}
	return nil
}
