package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/agent"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/guest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/qemu"
)

const (
	// bootPatience is for emulation on a machine that does other things as well: seconds are usual.
	bootPatience = 10 * time.Minute
	// kvmPatience is short: /dev/kvm may be there, accept a guest and then run none.
	kvmPatience = 10 * time.Second
)

// box is a guest that runs, and the way to talk to it.
type box struct {
	machine *qemu.Machine
	agent   *agent.Client
}

// shared is the guest of all tests. The first one starts it.
var shared struct {
	box

	once sync.Once
	err  error
	// image is what it booted, accelerator what runs it.
	image       *guest.Image
	accelerator string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.machine != nil {
		if err := shared.machine.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "ending the guest:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// needGuest starts the guest unless it runs.
func needGuest(t *testing.T) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the guest is made of this machine's Debian packages, and needs those for amd64")
	}
	shared.once.Do(func() { shared.err = start(t.Output()) })
	if shared.err != nil {
		t.Fatal("no guest: ", shared.err)
	}
}

// another starts a guest of the test's own, beside the one of all tests.
func another(t *testing.T) *box {
	t.Helper()
	needGuest(t)
	began := time.Now()
	b, _, err := bootWith(t.Context(), shared.image, shared.accelerator, bootPatience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.machine.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("another guest was up after %.1f s", time.Since(began).Seconds())
	return b
}

// start makes the image and boots it.
func start(out io.Writer) error {
	// While the image is made, an interrupt has to remove what is half made. Later there is nothing to do: QEMU ends with
	// this process, and no file of ours has a name.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	source, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	began := time.Now()
	image, err := guest.Make(ctx, source, cache)
	if err != nil {
		return err
	}
	made := time.Now()
	release, err := boot(ctx, image, out)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "the guest has Linux %s and runs by %s; its image was made in %.1f s, it was up %.1f s later\n",
		release, shared.accelerator, made.Sub(began).Seconds(), time.Since(made).Seconds())
	return err
}

// cacheDir is where the project keeps what it downloads.
func cacheDir() (string, error) {
	if dir := os.Getenv("CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	base, err := os.UserCacheDir()
	return filepath.Join(base, "cloud-provider-vultr"), err
}

// boot starts the guest of all tests, by emulation unless KVM runs it.
func boot(ctx context.Context, image *guest.Image, out io.Writer) (release string, err error) {
	with := func(accelerator string, patience time.Duration) error {
		b, r, err := bootWith(ctx, image, accelerator, patience)
		if err == nil {
			shared.box, shared.image, shared.accelerator, release = *b, image, accelerator, r
		}
		return err
	}
	if file, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
		_ = file.Close() // only tried
		began := time.Now()
		err := with("kvm", kvmPatience)
		if err == nil {
			return release, nil
		}
		reason, _, _ := strings.Cut(err.Error(), "\n")
		_, _ = fmt.Fprintf(out, "KVM runs no guest here (%.1f s): %s\n", time.Since(began).Seconds(), reason) // told for whoever wonders
	}
	err = with("tcg", bootPatience)
	return release, err
}

func bootWith(ctx context.Context, image *guest.Image, accelerator string, patience time.Duration) (*box, string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	machine, err := qemu.Start(ctx, qemu.Config{Kernel: image.Kernel, Initramfs: image.Initramfs, Accelerator: accelerator, Port: agent.Port})
	if err != nil {
		return nil, "", err
	}
	b := &box{machine, agent.NewClient(machine.Port())}
	release, err := b.agent.Hello(ctx)
	if err == nil {
		err = b.agent.StartPlugin(ctx)
	}
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("the guest is not up: %w; its console: %s", err, machine.Console()), machine.Close())
	}
	return b, release, nil
}
