package node

import (
	"context"
	"fmt"
	"os"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
)

// Check reports whether the node can do its work: see disks and mounts, and keep records.
func (s *Service) Check(context.Context) error {
	if _, err := os.ReadDir(s.cfg.Finder.SysfsDir); err != nil {
		return fmt.Errorf("the list of block devices cannot be read: %w", err)
	}
	if _, err := os.Stat(s.cfg.Finder.DeviceDir); err != nil {
		return fmt.Errorf("the directory of device nodes cannot be read: %w", err)
	}
	if _, err := mount.Read(); err != nil {
		return fmt.Errorf("the mounts cannot be read: %w", err)
	}
	return s.cfg.State.Check()
}
