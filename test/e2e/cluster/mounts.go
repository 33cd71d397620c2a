package cluster

import (
	"context"
	"strings"
)

// VolumeMounts lists what the kubelets have mounted of CSI volumes, by worker and path, with the number that the kernel gave
// each mount when it was made: what is unmounted and mounted again has another one.
func (c *Cluster) VolumeMounts(ctx context.Context) (map[string]string, error) {
	mounts := map[string]string{}
	err := c.eachWorker(ctx, func(m *machine) error {
		table, err := m.client.Run(ctx, "cat", "/proc/self/mountinfo")
		if err != nil {
			return err
		}
		for line := range strings.Lines(table) {
			const number, path = 0, 4
			fields := strings.Fields(line)
			if len(fields) > path && strings.HasPrefix(fields[path], "/var/lib/kubelet/") &&
				(strings.Contains(fields[path], "/kubernetes.io/csi/") || strings.Contains(fields[path], "/kubernetes.io~csi/")) {
				mounts[m.instance.Label+" "+fields[path]] = fields[number]
			}
		}
		return nil
	})
	return mounts, err
}
