package scenario

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// Migration are the steps from the official CSI driver to this one, by the commands that docs/migrate.md has. Each builds on the
// one before.
func Migration() []Step {
	m := &migration{}
	return []Step{
		{"the official driver's objects are installed, with a stand-in for its programs", m.install},
		{"its pods write to an ext4, an xfs and a shared file system; one more volume waits, detached", m.start},
		{"the volumes are as the official driver leaves them", m.asOfficial},
		{"the documented commands are run while they write: nothing is unmounted, detached or restarted", m.change},
		{"the roles of the official driver go, as documented", m.removeRoles},
		{"the volumes grow", m.used.grow},
		{"the pods go to the other node, with their data, and the volume that was detached has its own", m.move},
		{"an official class makes volumes", m.create},
		{"everything is deleted: the cloud has no disk and no shared file system left", everythingDeleted},
	}
}

// migration is what the steps know of one another.
type migration struct {
	used inUse
	// rested is what was written to a volume that no pod has while the driver changes.
	rested string
}

const (
	officialClass    = "vultr-block-storage" // of the official manifest
	officialXFSClass = "official-xfs"        // a user's own
	// officialRegionLabel is the key by which the official driver's nodes report their region, in capitals.
	officialRegionLabel = "region"

	rested  = "rested"
	created = "created"
)

// install makes the cluster one that has the official driver.
func (*migration) install(ctx context.Context, w *World) (string, error) {
	if err := w.createNamespace(ctx); err != nil {
		return "", err
	}
	if err := w.InstallFrom(ctx, w.Overlay("ccm")); err != nil {
		return "", err
	}
	if err := w.removeStartUpTaint(ctx); err != nil {
		return "", err
	}
	if _, err := nodesInitialised(ctx, w); err != nil {
		return "", err
	}
	manifests, err := w.officialManifests()
	if err != nil {
		return "", err
	}
	// As users have applied it: what is left out later goes because kubectl remembers that it was there.
	if _, err := w.Kubectl(ctx, manifests, "apply", "-f", "-"); err != nil {
		return "", err
	}
	return "StatefulSet csi-vultr-controller, DaemonSet csi-vultr-node", w.wait(ctx, "the official driver runs", w.officialRuns)
}

// removeStartUpTaint takes the taint from the workers that only this driver would take: nothing of the official one knows it.
func (w *World) removeStartUpTaint(ctx context.Context) error {
	nodes, err := w.Kubernetes.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range nodes.Items {
		if tainted(&nodes.Items[i], cluster.StartUpTaint) {
			if _, err := w.Kubectl(ctx, "", "taint", "node", nodes.Items[i].Name, cluster.StartUpTaint+"-"); err != nil {
				return err
			}
		}
	}
	return nil
}

// officialManifests are the objects of the official manifest with the images that this cluster has.
func (w *World) officialManifests() (string, error) {
	content, err := os.ReadFile(filepath.Join(w.Source, "test", "e2e", "official", "manifests.yaml"))
	if err != nil {
		return "", err
	}
	shipped, err := os.ReadFile(filepath.Join(w.Source, "deploy", "manifests", "csi", "controller.yaml"))
	if err != nil {
		return "", err
	}
	images := map[string]string{"vultr-csi": cache.OfficialImage}
	for _, name := range []string{"csi-provisioner", "csi-attacher", "csi-resizer"} {
		if images[name] = regexp.MustCompile(`registry\.k8s\.io/sig-storage/` + name + `:\S+`).FindString(string(shipped)); images[name] == "" {
			return "", fmt.Errorf("deploy/manifests/csi/controller.yaml names no image of %s", name)
		}
	}
	text := string(content)
	for name, image := range images {
		text = strings.ReplaceAll(text, "image: "+name+"\n", "image: "+image+"\n")
	}
	return text, nil
}

// officialRuns says what is missing of the official driver.
func (w *World) officialRuns(ctx context.Context) error {
	set, err := w.Kubernetes.AppsV1().StatefulSets(metav1.NamespaceSystem).Get(ctx, "csi-vultr-controller", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if set.Status.ReadyReplicas != *set.Spec.Replicas {
		return fmt.Errorf("%d of %d replicas of the StatefulSet are ready", set.Status.ReadyReplicas, *set.Spec.Replicas)
	}
	nodes, err := w.Kubernetes.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range nodes.Items {
		node := &nodes.Items[i]
		if err := w.driverRegistered(ctx, node.Name); err != nil {
			return err
		}
		if got, want := node.Labels[officialRegionLabel], strings.ToUpper(cluster.Region); got != want {
			return fmt.Errorf("node %s has the label %s=%s, the official driver gives it %s", node.Name, officialRegionLabel, got, want)
		}
	}
	return nil
}

// start has pods write to volumes of the official driver, and leaves one volume detached.
func (m *migration) start(ctx context.Context, w *World) (string, error) {
	for claim, class := range map[string]string{plain: officialClass, database: officialXFSClass, rested: officialClass} {
		if err := w.createClaim(ctx, claim, class, corev1.PersistentVolumeFilesystem); err != nil {
			return "", err
		}
	}
	if err := w.createSharedClaimOf(ctx, officialSharedClass); err != nil {
		return "", err
	}
	started, err := w.startPods(ctx, claimPod(rested, false))
	if err != nil {
		return "", err
	}
	if m.rested, err = w.writeBulk(ctx, started[0]); err != nil {
		return "", err
	}
	if err := w.endPod(ctx, rested); err != nil {
		return "", err
	}
	volume, err := w.volumeOf(ctx, rested)
	if err != nil {
		return "", err
	}
	if err := w.attachedNowhere(ctx, volume.Name); err != nil {
		return "", err
	}
	return m.used.startPods(ctx, w, []*corev1.Pod{
		claimPod(database, false), claimPod(plain, false), sharingPod(shared + "-a"), sharingPod(shared + "-b"),
	})
}

// asOfficial checks that the stand-in has left what the official driver leaves, so that the rest means something.
func (m *migration) asOfficial(ctx context.Context, w *World) (string, error) {
	list, err := w.Kubernetes.StorageV1().VolumeAttachments().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, claim := range m.used.claims() {
		volume, err := w.volumeOf(ctx, claim)
		if err != nil {
			return "", err
		}
		// A file system's tag is another one on each instance.
		name, attached := regexp.MustCompile(`^[1-9]\d*$`), 2
		if claim != shared {
			disk, err := w.diskOf(ctx, claim)
			if err != nil {
				return "", err
			}
			name, attached = regexp.MustCompile("^"+regexp.QuoteMeta(disk.Serial)+"$"), 1
		}
		of := slices.DeleteFunc(slices.Clone(list.Items), func(a storagev1.VolumeAttachment) bool {
			name := a.Spec.Source.PersistentVolumeName
			return name == nil || *name != volume.Name
		})
		if len(of) != attached {
			return "", fmt.Errorf("the volume %s of the claim %s has %d attachments, not %d", volume.Name, claim, len(of), attached)
		}
		for _, a := range of {
			if err := leftByOfficial(volume, a.Status.AttachmentMetadata, kindOf(claim), name); err != nil {
				return "", fmt.Errorf("the volume %s of the claim %s: %w", volume.Name, claim, err)
			}
		}
	}
	return "no node affinity, no attributes, mount_vol_name and storage_type in the attachments", nil
}

// kindOf is the storage type of a claim's volume, as attachments have it.
func kindOf(claim string) string {
	if claim == shared {
		return "vfs"
	}
	return "block"
}

// leftByOfficial says what the official driver would not have left so.
func leftByOfficial(volume *corev1.PersistentVolume, attachment map[string]string, kind string, name *regexp.Regexp) error {
	if volume.Spec.NodeAffinity != nil {
		return fmt.Errorf("it has the node affinity %v; the official driver gives none", volume.Spec.NodeAffinity)
	}
	attributes := slices.Sorted(maps.Keys(volume.Spec.CSI.VolumeAttributes))
	if want := []string{"storage.kubernetes.io/csiProvisionerIdentity"}; !slices.Equal(attributes, want) {
		return fmt.Errorf("it has the attributes %v, not %v", attributes, want)
	}
	if len(attachment) != 2 || attachment["storage_type"] != kind || !name.MatchString(attachment["mount_vol_name"]) {
		return fmt.Errorf("its attachment has the metadata %v, not the storage_type %s and a mount_vol_name like %s", attachment, kind, name)
	}
	return nil
}

// fencedShell is commands in a page of the documentation.
var fencedShell = regexp.MustCompile("(?s)```sh\n(.*?)```")

// documentedCommands lists the blocks of commands in a section of a page in docs, and in those below it.
func (w *World) documentedCommands(page, section string) ([]string, error) {
	content, err := os.ReadFile(filepath.Join(w.Source, "docs", page))
	if err != nil {
		return nil, err
	}
	heading := regexp.MustCompile(`(?m)^(##+) ` + regexp.QuoteMeta(section) + `$`).FindStringSubmatchIndex(string(content))
	if heading == nil {
		return nil, fmt.Errorf("docs/%s has no section %q", page, section)
	}
	text := string(content[heading[1]:])
	if next := regexp.MustCompile(fmt.Sprintf(`(?m)^#{2,%d} `, heading[3]-heading[2])).FindStringIndex(text); next != nil {
		text = text[:next[0]]
	}
	var all []string
	for _, match := range fencedShell.FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	return all, nil
}

// The page with the commands, and its section.
const (
	migratePage    = "migrate.md"
	migrateSection = "CSI driver"
)

// migrationCommands are the two blocks of commands: those that change the driver, and those that remove the former roles.
func (w *World) migrationCommands() (change, roles string, err error) {
	blocks, err := w.documentedCommands(migratePage, migrateSection)
	if err != nil {
		return "", "", err
	}
	if len(blocks) != 2 {
		return "", "", fmt.Errorf("docs/%s, %s, has %d blocks of commands; two are known, to change the driver and to remove roles", migratePage, migrateSection, len(blocks))
	}
	change, err = appliedHere(blocks[0], "csi")
	return change, blocks[1], err
}

// appliedHere are documented commands that apply a part of the overlay in the place of what it changes: in a local cluster the API
// and the disks are elsewhere.
func appliedHere(commands, part string) (string, error) {
	shipped := "kubectl apply -k deploy/manifests/" + part + "\n"
	if strings.Count(commands, shipped) != 1 {
		return "", fmt.Errorf("the commands of docs/%s do not have the one line %q:\n%s", migratePage, shipped, commands)
	}
	return strings.Replace(commands, shipped, "kubectl apply -k test/e2e/overlay/"+part+"\n", 1), nil
}

// change runs the documented commands while the pods write.
func (m *migration) change(ctx context.Context, w *World) (string, error) {
	commands, _, err := w.migrationCommands()
	if err != nil {
		return "", err
	}
	before, err := w.objectUIDs(ctx)
	if err != nil {
		return "", err
	}
	start := time.Now()
	written, err := m.used.unnoticed(ctx, w, func(ctx context.Context) error {
		_, err := w.Shell(ctx, commands)
		return err
	})
	if err != nil {
		return "", err
	}
	took := time.Since(start)
	if err := w.wait(ctx, "this project's driver runs", w.productRuns); err != nil {
		return "", err
	}
	after, err := w.objectUIDs(ctx)
	if err != nil {
		return "", err
	}
	for object, uid := range before {
		if after[object] != uid {
			return "", fmt.Errorf("the %s was made again: its UID was %q and is %q", object, uid, after[object])
		}
	}
	left, err := w.containersOf(ctx, cache.OfficialImage)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("these are still the official driver's: %v", left)
	}
	return fmt.Sprintf("%s; it took %.0f s", written, took.Seconds()), err
}

// objectUIDs are the UIDs of what the change may not make again.
func (w *World) objectUIDs(ctx context.Context) (map[string]string, error) {
	uids := map[string]string{}
	volumes, err := w.Kubernetes.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range volumes.Items {
		uids["PersistentVolume "+volumes.Items[i].Name] = string(volumes.Items[i].UID)
	}
	claims, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range claims.Items {
		uids["PersistentVolumeClaim "+claims.Items[i].Name] = string(claims.Items[i].UID)
	}
	classes, err := w.Kubernetes.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range classes.Items {
		uids["StorageClass "+classes.Items[i].Name] = string(classes.Items[i].UID)
	}
	set, err := w.Kubernetes.AppsV1().DaemonSets(metav1.NamespaceSystem).Get(ctx, nodePlugin, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	uids["DaemonSet "+set.Name] = string(set.UID)
	return uids, nil
}

// removeRoles runs the second block of commands; each of the names has to be one that was there.
func (*migration) removeRoles(ctx context.Context, w *World) (string, error) {
	_, commands, err := w.migrationCommands()
	if err != nil {
		return "", err
	}
	if _, err := w.Shell(ctx, commands); err != nil {
		return "", err
	}
	bindings, err := w.Kubernetes.RbacV1().ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	inNamespace, err := w.Kubernetes.RbacV1().RoleBindings(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	left := make(map[string][]rbacv1.Subject) // to whom, by the binding's name
	for _, b := range bindings.Items {
		if b.Labels["app"] == "" {
			left["ClusterRoleBinding "+b.Name] = b.Subjects
		}
	}
	for _, b := range inNamespace.Items {
		if b.Labels["app"] == "" {
			left["RoleBinding "+b.Name] = b.Subjects
		}
	}
	for binding, subjects := range left {
		for _, s := range subjects {
			if strings.HasPrefix(s.Name, "csi-vultr-") && s.Namespace == metav1.NamespaceSystem {
				return "", fmt.Errorf("the %s of the official driver is left, to %s: docs/%s does not name it", binding, s.Name, migratePage)
			}
		}
	}
	return "no binding of the official driver is left", w.wait(ctx, "this project's driver runs", w.productRuns)
}

// move has the pods go to the other node, and a pod use the volume that rested.
func (m *migration) move(ctx context.Context, w *World) (string, error) {
	moved, err := m.used.move(ctx, w)
	if err != nil {
		return "", err
	}
	started, err := w.startPods(ctx, claimPod(rested, false))
	if err != nil {
		return "", err
	}
	return moved, w.hasBulk(ctx, started[0], "", m.rested)
}

// create makes a volume by a class that both drivers have.
func (*migration) create(ctx context.Context, w *World) (string, error) {
	if err := w.createClaim(ctx, created, officialClass, corev1.PersistentVolumeFilesystem); err != nil {
		return "", err
	}
	started, err := w.startPods(ctx, claimPod(created, false))
	if err != nil {
		return "", err
	}
	sum, err := w.writeBulk(ctx, started[0])
	if err != nil {
		return "", err
	}
	volume, err := w.volumeOf(ctx, created)
	if err != nil {
		return "", err
	}
	return volume.Name + " on " + started[0].Spec.NodeName, errors.Join(w.hasBulk(ctx, started[0], "", sum), w.isFileSystem(ctx, created, "ext4"))
}
