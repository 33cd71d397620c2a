package vultr

import (
	"context"
	"strings"
	"time"

	"github.com/vultr/govultr/v3"
)

const blocksPath = "/v2/blocks"

// Volume reads one volume. Only its IsNotFound proves that a volume does not exist.
func (c *Client) Volume(ctx context.Context, id string) (Volume, error) {
	if err := checkID(opGetBlock, id); err != nil {
		return Volume{}, err
	}
	var answer blockAnswer
	if err := c.do(ctx, opGetBlock, id, blocksPath+"/"+id, nil, &answer); err != nil {
		return Volume{}, err
	}
	return answer.volume(opGetBlock, id)
}

// Volumes lists all volumes of the account. The list is shared: its items must not be changed. With maxAge 0 it began
// after the call, else it can be up to maxAge old.
func (c *Client) Volumes(ctx context.Context, maxAge time.Duration) (List[Volume], error) {
	list, err := c.volumes.within(ctx, maxAge)
	return list, ended(opListBlocks, err)
}

// CreateVolume asks for a volume, which becomes active some seconds later. The request is sent once, and again only
// after the API refused it for its rate. With IsOutcomeUnknown it may exist: look for its label, and mind SettleGuard.
func (c *Client) CreateVolume(ctx context.Context, r VolumeRequest) (Volume, error) {
	body := &govultr.BlockStorageCreate{Region: r.Region, SizeGB: r.SizeGB, Label: r.Label, BlockType: string(r.Type)}
	var answer blockAnswer
	if err := c.do(ctx, opCreateBlock, r.Label, blocksPath, body, &answer); err != nil {
		return Volume{}, err
	}
	return answer.volume(opCreateBlock, r.Label)
}

// ResizeVolume grows a volume. It succeeds if the volume has at least that size already.
func (c *Client) ResizeVolume(ctx context.Context, id string, sizeGB int) error {
	if err := checkID(opResizeBlock, id); err != nil {
		return err
	}
	err := c.do(ctx, opResizeBlock, id, blocksPath+"/"+id, map[string]int{"size_gb": sizeGB}, nil)
	if !IsNothingToChange(err) {
		return err
	}
	// Either it has that size, perhaps by an attempt whose answer was lost, or the API means something else by it.
	v, lookErr := c.Volume(ctx, id)
	if lookErr != nil {
		return lookErr
	}
	if v.SizeGB >= sizeGB {
		return nil
	}
	return err
}

// AttachVolume asks for a volume to be plugged into a running instance; WaitVolume tells when it is. The request is
// sent once: with IsOutcomeUnknown look at the volume.
func (c *Client) AttachVolume(ctx context.Context, id, instanceID string) error {
	if err := checkID(opAttachBlock, id); err != nil {
		return err
	}
	// Without live the platform restarts the instance.
	body := map[string]any{"instance_id": instanceID, "live": true}
	return c.do(ctx, opAttachBlock, id, blocksPath+"/"+id+"/attach", body, nil)
}

// DetachVolume asks for a volume to be unplugged from its running instance; WaitVolume tells when it is. The request is
// sent once: with IsOutcomeUnknown look at the volume.
func (c *Client) DetachVolume(ctx context.Context, id string) error {
	if err := checkID(opDetachBlock, id); err != nil {
		return err
	}
	return c.do(ctx, opDetachBlock, id, blocksPath+"/"+id+"/detach", map[string]any{"live": true}, nil)
}

// DeleteVolume deletes a volume and its data. IsNotFound means that it was gone before.
func (c *Client) DeleteVolume(ctx context.Context, id string) error {
	if err := checkID(opDeleteBlock, id); err != nil {
		return err
	}
	return c.do(ctx, opDeleteBlock, id, blocksPath+"/"+id, nil, nil)
}

type blockAnswer struct {
	Block *govultr.BlockStorage `json:"block"`
}

func (a blockAnswer) volume(op operation, resource string) (Volume, error) {
	if a.Block == nil || a.Block.ID == "" {
		return Volume{}, missing(op, resource)
	}
	return volumeOf(*a.Block), nil
}

type blocksAnswer struct {
	Blocks []govultr.BlockStorage `json:"blocks"`
	Meta   *govultr.Meta          `json:"meta"`
}

func (a *blocksAnswer) page() page[govultr.BlockStorage] {
	return page[govultr.BlockStorage]{a.Blocks, a.Meta}
}

func (c *Client) listVolumes(ctx context.Context) ([]Volume, error) {
	wire, err := listAll[blocksAnswer](ctx, c, opListBlocks, blocksPath, func(b govultr.BlockStorage) string { return b.ID })
	if err != nil {
		return nil, err
	}
	volumes := make([]Volume, len(wire))
	for i, b := range wire {
		volumes[i] = volumeOf(b)
	}
	return volumes, nil
}

func volumeOf(b govultr.BlockStorage) Volume {
	v := Volume{
		ID: b.ID, Label: b.Label, Region: strings.ToLower(b.Region), SizeGB: b.SizeGB, Type: BlockType(b.BlockType),
		Status: b.Status, AttachedTo: b.AttachedToInstance, MountID: b.MountID, SnapshotID: b.SnapshotID,
		Created: parseTime(b.DateCreated),
	}
	// The live API says "0" for a volume without a source.
	if v.SnapshotID == "0" {
		v.SnapshotID = ""
	}
	return v
}

// parseTime gives the zero time for what the platform may send instead of a time.
func parseTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t
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
