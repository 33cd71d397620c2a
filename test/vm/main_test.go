package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/agent"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/guest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/qemu"
)

const (
	// bootPatience is generous: two seconds are usual.
	bootPatience = 2 * time.Minute
	// kvmPatience is short: /dev/kvm may be there, accept a guest and then run none.
	kvmPatience = 10 * time.Second
)

// shared is the guest of all tests.
var shared struct {
	machine *qemu.Machine
	agent   *agent.Client
}

func TestMain(m *testing.M) {
	code, err := withGuest(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		code = 1
	}
	os.Exit(code)
}

// withGuest runs the tests with a guest, which ends with them, also when they are interrupted.
func withGuest(m *testing.M) (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	began := time.Now()
	cache, err := cacheDir()
	if err != nil {
		return 0, err
	}
	source, err := filepath.Abs("../..")
	if err != nil {
		return 0, err
	}
	image, err := guest.Make(ctx, source, cache)
	if err != nil {
		return 0, err
	}
	made := time.Since(began)
	accelerator, release, err := boot(ctx, image)
	if err != nil {
		return 0, err
	}
	stop() // from here on the default will do: QEMU ends with this process, and nothing has a name
	fmt.Printf("guest: Linux %s, %s, image made in %.1f s, up after %.1f s\n", release, accelerator, made.Seconds(), (time.Since(began) - made).Seconds())
	code = m.Run()
	return code, shared.machine.Close()
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
func boot(ctx context.Context, image *guest.Image) (accelerator, release string, err error) {
	if file, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
		_ = file.Close() // only tried
		if release, err := bootWith(ctx, image, "kvm", kvmPatience); err == nil {
			return "kvm", release, nil
		}
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
