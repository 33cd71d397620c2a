package vfsstore

import (
	"context"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// redeploy says what to do about an instance to which no file system can be attached.
const redeploy = "an instance of an older plan has to be redeployed to have shared file systems (its memory backing must be shared, see docs/shared-file-systems.md)"

// explain finds out what a refused attach means.
func (s *Store) explain(ctx context.Context, k key, cause error) error {
	if vultr.IsRateLimited(cause) || vultr.IsUnauthorized(cause) || ctx.Err() != nil {
		return refusal.OfChange(cause, "attaching file system %s to instance %s", k.id, k.instance)
	}
	v, err := s.base.Read(ctx, k.id)
	if err != nil {
		return err
	}
	i, err := s.api.Instance(ctx, k.instance)
	switch {
	case vultr.IsNotFound(err):
		return volume.Errorf(volume.NotFound, "instance %s does not exist", k.instance)
	case err != nil:
		return refusal.OfRead(err, "reading instance %s, which refused file system %s", k.instance, k.id)
	case i.Kind == vultr.KindBareMetal:
		return volume.Errorf(volume.Invalid, "instance %s is a bare metal server, to which shared file systems cannot be attached; "+
			"it can mount them over NFS by one of Vultr's storage gateways, without this driver", k.instance)
	}
	s.base.LearnPlace(k.instance, i.Region)
	if err := s.base.Apart(k.id, k.instance); err != nil {
		return err
	}
	switch {
	case !v.Ready:
		return volume.Errorf(volume.Busy, "file system %s is not active yet: %w", k.id, cause)
	case vultr.IsLocked(cause), i.ServerStatus == "locked", i.Status != "active":
		return volume.Errorf(volume.Busy, "instance %s is %s and %s and cannot have file system %s now: %w", k.instance, i.Status, i.ServerStatus, k.id, cause)
	case vultr.IsPrivateMemory(cause):
		return volume.Errorf(volume.InUse, "instance %s cannot have file system %s: %s: %w", k.instance, k.id, redeploy, cause)
	case vultr.IsLimit(cause):
		return volume.Errorf(volume.Exhausted, "instance %s can have no more file systems: %w", k.instance, cause)
	case vultr.IsNotFound(cause):
		return volume.Errorf(volume.Busy, "file system %s and instance %s are shown, and an attach is answered as if one did not exist; it is repeated: %w", k.id, k.instance, cause)
	case vultr.IsInvalid(cause):
		return refusal.OfChange(cause, "attaching file system %s to instance %s, for which there may be this reason: %s", k.id, k.instance, redeploy)
	}
	return refusal.OfChange(cause, "attaching file system %s to instance %s", k.id, k.instance)
}
