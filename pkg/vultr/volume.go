package vultr

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/vultr/govultr/v3"
)

const blocksPath = "/v2/blocks"

var (
	opResizeBlock = operation{name: "resize_block", words: "resize block storage", method: http.MethodPatch}
	opAttachBlock = operation{name: "attach_block", words: "attach block storage", method: http.MethodPost}
	opDetachBlock = operation{name: "detach_block", words: "detach block storage", method: http.MethodPost}
	opWaitBlock   = operation{name: "wait_block", words: "wait for block storage", method: http.MethodGet}
)

var volumes = resource[govultr.BlockStorage, Volume]{
	path: blocksPath, one: []string{"block"}, many: "blocks",
	ops: operationsOn("block", "blocks", "block storage", "block storage"),
	id:  func(v Volume) string { return v.ID }, domain: volumeOf,
}

// Volume reads one volume. Only its IsNotFound proves that a volume does not exist.
func (c *Client) Volume(ctx context.Context, id string) (Volume, error) {
	return volumes.read(ctx, c, id)
}

// Volumes lists all volumes of the account. The list is shared: its items must not be changed. With maxAge 0 it began
// after the call, else it can be up to maxAge old.
func (c *Client) Volumes(ctx context.Context, maxAge time.Duration) (List[Volume], error) {
	return sharedList(ctx, c.volumes, volumes.ops.list, maxAge)
}

// CreateVolume asks for a volume, which becomes active some seconds later. The request is sent once, and again only
// after the API refused it for its rate. With IsOutcomeUnknown it may exist: look for its label, and mind SettleGuard.
func (c *Client) CreateVolume(ctx context.Context, r VolumeRequest) (Volume, error) {
	return volumes.make(ctx, c, r.Label, &govultr.BlockStorageCreate{
		Region: r.Region, SizeGB: r.SizeGB, Label: r.Label, BlockType: string(r.Type), SnapshotID: r.SnapshotID,
	})
}

// ResizeVolume grows a volume. It succeeds if the volume has at least that size already.
func (c *Client) ResizeVolume(ctx context.Context, id string, sizeGB int) error {
	return c.changeVolume(ctx, opResizeBlock, id, map[string]any{"size_gb": sizeGB},
		func(v Volume) bool { return v.SizeGB >= sizeGB })
}

// RelabelVolume gives a volume another label, also an empty one. It succeeds if the volume has it already.
func (c *Client) RelabelVolume(ctx context.Context, id, label string) error {
	return c.changeVolume(ctx, volumes.ops.update, id, map[string]any{"label": label},
		func(v Volume) bool { return v.Label == label })
}

// ChangeVolume grows a volume and gives it another label, in one call. It succeeds if the volume is so already.
func (c *Client) ChangeVolume(ctx context.Context, id string, sizeGB int, label string) error {
	return c.changeVolume(ctx, opResizeBlock, id, map[string]any{"size_gb": sizeGB, "label": label},
		func(v Volume) bool { return v.SizeGB >= sizeGB && v.Label == label })
}

// VolumeExists reports whether a volume exists, by the answer to a change that changes nothing: reads may lack what
// exists for a while, what answers writes does not.
func (c *Client) VolumeExists(ctx context.Context, id string) (bool, error) {
	err := volumes.change(ctx, c, volumes.ops.update, id, "", map[string]any{})
	switch {
	case err == nil, hasStatus(err, http.StatusBadRequest), hasStatus(err, http.StatusUnprocessableEntity):
		return true, nil
	case IsNotFound(err):
		return false, nil
	}
	return false, err
}

// changeVolume sends a change. What the API says about one without effect is looked at: either the volume is as wished,
// perhaps by an attempt whose answer was lost, or the API means something else by it.
func (c *Client) changeVolume(ctx context.Context, op operation, id string, body any, asWished func(Volume) bool) error {
	err := volumes.change(ctx, c, op, id, "", body)
	if !IsNothingToChange(err) {
		return err
	}
	v, lookErr := c.Volume(ctx, id)
	if lookErr != nil {
		return lookErr
	}
	if asWished(v) {
		return nil
	}
	return err
}

// AttachVolume asks for a volume to be plugged into a running instance; WaitVolume tells when it is. The request is
// sent once: with IsOutcomeUnknown look at the volume.
func (c *Client) AttachVolume(ctx context.Context, id, instanceID string) error {
	// Without live the platform restarts the instance.
	body := map[string]any{"instance_id": instanceID, "live": true}
	return c.ordered(id, volumes.change(ctx, c, opAttachBlock, id, "/attach", body))
}

// DetachVolume asks for a volume to be unplugged from its running instance; WaitVolume tells when it is. The request
// names no instance: it takes the volume from whichever has it by then, which is what a precondition is for. It is sent
// once, and again only after a refusal for its rate: with IsOutcomeUnknown look at the volume.
func (c *Client) DetachVolume(ctx context.Context, id string, preconditions ...Precondition) error {
	return c.ordered(id, volumes.change(ctx, c, opDetachBlock, id, "/detach", map[string]any{"live": true}, preconditions...))
}

// ordered passes on the answer to an order for a volume. One that was accepted begins something else to wait for.
func (c *Client) ordered(id string, err error) error {
	if err == nil {
		c.overdue.forget(id)
	}
	return err
}

// DeleteVolume deletes a volume and its data. IsNotFound means that it was gone before, or with IsOutcomeUnknown that an
// earlier attempt of the call may have deleted it.
func (c *Client) DeleteVolume(ctx context.Context, id string, preconditions ...Precondition) error {
	return volumes.remove(ctx, c, id, preconditions...)
}

func volumeOf(b govultr.BlockStorage) Volume {
	v := Volume{
		ID: b.ID, Label: b.Label, Region: strings.ToLower(b.Region), SizeGB: b.SizeGB, Type: BlockType(b.BlockType),
		Status: b.Status, AttachedTo: b.AttachedToInstance, MountID: b.MountID, SnapshotID: b.SnapshotID,
		Created: parseTime(b.DateCreated), MonthlyCost: float64(b.Cost),
	}
	// The live API says "0" for a volume without a source.
	if v.SnapshotID == "0" {
		v.SnapshotID = ""
	}
	return v
}

// parseTime understands both forms of time that the platform sends, and gives the zero time for anything else. Block
// snapshots have one without a zone; it is taken for UTC, as the other one always is.
func parseTime(text string) time.Time {
	for _, layout := range []string{time.RFC3339, time.DateTime} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// ended gives an error of a shared read the form of all others: a caller that stopped waiting has no *Error yet.
func ended(op operation, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok { //nolint:errorlint // a wrapped one is not the whole error
		return e
	}
	return (&record{op: op}).fail(0, "", err)
}
