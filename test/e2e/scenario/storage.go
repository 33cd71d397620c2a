package scenario

import "context"

// Storage are scenarios about volumes that can run beside each other: each has a namespace of its own.
func Storage() []Step {
	return []Step{
		{"an ext4 volume in use is restored from a snapshot, larger too", apartStep("snapshot-ext4", func(ctx context.Context, w *World) (string, error) {
			return snapshotRestored(ctx, w, ext4Class)
		})},
		{"an xfs volume in use is restored from a snapshot, larger too", apartStep("snapshot-xfs", func(ctx context.Context, w *World) (string, error) {
			return snapshotRestored(ctx, w, xfsClass)
		})},
		{"a snapshot outlives its VolumeSnapshot and is brought back", apartStep("snapshot-kept", snapshotKept)},
		{"a volume and a snapshot are brought to another namespace", apartStep("brought", broughtAlong)},
		{"a volume in use is cloned twice at once", apartStep("clone", cloned)},
		{"pods on both nodes write to one shared file system", apartStep("shared", sharedFileSystem)},
		{"a VolumeAttributesClass changes a volume's label", apartStep("attributes", labelChanged)},
		{"a generic ephemeral volume lives as long as its pod", apartStep("ephemeral", scratchVolume)},
		{"a file system that fails is told to its pod by the kubelet, and heals", apartStep("failed", failureTold)},
		{"a raw device is for one pod", apartStep("one-pod-device", deviceForOnePod)},
		{"a shared file system is for one pod", apartStep("one-pod-shared", sharedForOnePod)},
		{"pods may only read a shared file system", apartStep("read-only", sharedReadOnly)},
		{"a btrfs in use is restored beside its source, and grows", apartStep("btrfs", btrfsLives)},
	}
}

// Nodes are scenarios that need the nodes for themselves.
func Nodes() []Step {
	return []Step{
		{"twenty volumes at once", withinStep("many", manyAtOnce)},
		{"the node plugin is replaced while pods write", withinStep("rollover", rollover)},
		{"a node that the platform refuses one more volume gets no more", withinStep("full-node", nodeIsFull)},
		{"a new node is tainted, limited by its label and drained", withinStep("new-node", nodeComesAndGoes)},
	}
}

// CloudEmpty checks that nothing is left in the cloud but instances.
func CloudEmpty() Step {
	return Step{"the cloud has nothing left but instances", func(ctx context.Context, w *World) (string, error) {
		return "no disk, snapshot, shared file system or load balancer", w.wait(ctx, "the cloud has nothing left but instances", w.cloudEmpty)
	}}
}

type does = func(context.Context, *World) (string, error)

func apartStep(namespace string, do does) does {
	return func(ctx context.Context, w *World) (string, error) { return w.apart(ctx, namespace, do) }
}

func withinStep(namespace string, do does) does {
	return func(ctx context.Context, w *World) (string, error) { return w.within(ctx, namespace, do) }
}
