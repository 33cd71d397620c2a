package device_test

import (
	"os/exec"
	"sync"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
)

// TestProgramsKeepNoDevice: a device that was claimed and closed can be claimed again, whatever programs the process
// starts at the same time, which have a copy of what is open until they run.
func TestProgramsKeepNoDevice(t *testing.T) {
	m := testmachine.New(t)
	m.Plug("disk", "ewr-ae6c4452b93b4f", 64<<20)
	d := m.Device("ewr-ae6c4452b93b4f")
	ended := make(chan struct{})
	var programs sync.WaitGroup
	for range 4 {
		programs.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				if err := exec.Command("true").Run(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	defer programs.Wait()
	defer close(ended)
	for i := range 1000 {
		file, err := device.Claim(t.Context(), d)
		if err != nil {
			t.Fatalf("claim %d: %v", i, err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
