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

// shared is the guest of all tests. The first one starts it.
var shared struct {
	once    sync.Once
	err     error
	machine *qemu.Machine
	agent   *agent.Client
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
	accelerator, release, err := boot(ctx, image, out)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "the guest has Linux %s and runs by %s; its image was made in %.1f s, it was up %.1f s later\n",
		release, accelerator, made.Sub(began).Seconds(), time.Since(made).Seconds())
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

// boot starts the guest, by emulation unless KVM runs it.
func boot(ctx context.Context, image *guest.Image, out io.Writer) (accelerator, release string, err error) {
	if file, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
		_ = file.Close() // only tried
		began := time.Now()
		release, err := bootWith(ctx, image, "kvm", kvmPatience)
		if err == nil {
			return "kvm", release, nil
		}
		reason, _, _ := strings.Cut(err.Error(), "\n")
		_, _ = fmt.Fprintf(out, "KVM runs no guest here (%.1f s): %s\n", time.Since(began).Seconds(), reason) // told for whoever wonders
	}
	release, err = bootWith(ctx, image, "tcg", bootPatience)
	return "tcg", release, err
}

func bootWith(ctx context.Context, image *guest.Image, accelerator string, patience time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	machine, err := qemu.Start(ctx, qemu.Config{Kernel: image.Kernel, Initramfs: image.Initramfs, Accelerator: accelerator, Port: agent.Port})
	if err != nil {
		return "", err
	}
	client := agent.NewClient(machine.Port())
	release, err := client.Hello(ctx)
	if err == nil {
		err = client.StartPlugin(ctx)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("the guest is not up: %w; its console: %s", err, machine.Console()), machine.Close())
	}
	shared.machine, shared.agent = machine, client
	return release, nil
}
