package cluster

import "context"

// CloudDisk is a block storage volume as the API shows it.
type CloudDisk struct {
	ID         string `json:"id"`
	Label      string `json:"label"`
	Serial     string `json:"mount_id"`
	SizeGB     int    `json:"size_gb"`
	Status     string `json:"status"`
	AttachedTo string `json:"attached_to_instance"`
}

// Disks lists the block storage volumes in the cloud.
func (c *Cluster) Disks(ctx context.Context) ([]CloudDisk, error) {
	var answer struct {
		Blocks []CloudDisk `json:"blocks"`
	}
	err := c.Cloud.Get(ctx, "/v2/blocks?per_page=500", &answer)
	return answer.Blocks, err
}
