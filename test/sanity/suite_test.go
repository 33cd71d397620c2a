package sanity

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	sanity "github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/csiprocess"
)

const (
	// rawBlock is the access type of block storage without a file system.
	rawBlock = "block"
	region   = "ewr"
	// attachLimit is what the simulated platform enforces, so that the attach limit test meets a real refusal.
	attachLimit = "16"
)

// TestSuite is one run of csi-sanity, in a process of its own that TestSanity starts.
func TestSuite(t *testing.T) {
	access := os.Getenv(envAccess)
	if access == "" {
		t.Skip("only run by TestSanity")
	}
	shared := strings.HasPrefix(access, "vfs")
	cloud := simtest.Start(t, simtest.Options{Disks: true, FileSystems: shared})
	instance := cloud.AddInstance(simulator.NewServer{Label: "sanity", Region: region})
	dir := t.TempDir()
	controller, node := filepath.Join(dir, "controller.sock"), filepath.Join(dir, "node.sock")
	csiprocess.Start(t, csiprocess.Driver{
		Binary: os.Getenv(envBinary), Socket: controller, Env: []string{"VULTR_API_KEY=" + cloud.Key},
		Args: []string{
			"--mode=controller", "--api-key-file=/nonexistent", "--api-url=" + cloud.URL, "--region=" + region,
			"--platform-time-scale=" + strconv.FormatFloat(simtest.FastTimeScale, 'g', -1, 64),
		},
	})
	disks := filepath.Join(cloud.DisksDir, "instances", instance)
	for _, d := range []string{"devices", "block", "vfs"} {
		if err := os.MkdirAll(filepath.Join(disks, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	csiprocess.Start(t, csiprocess.Driver{Binary: os.Getenv(envBinary), Socket: node, Args: []string{
		"--mode=node", "--metadata-url=" + cloud.MetadataURL(instance), "--device-dir=" + filepath.Join(disks, "devices"),
		"--sysfs-block-dir=" + filepath.Join(disks, "block"), "--state-dir=" + filepath.Join(dir, "state"), "--kubelet-root=" + dir,
		"--max-volumes-per-node=" + attachLimit, "--plugin-registration-dir=", "--vfs-dir=" + filepath.Join(disks, "vfs"),
	}})

	announces(t, controller, node)

	config := sanity.NewTestConfig()
	config.Address, config.ControllerAddress = "unix://"+node, "unix://"+controller
	config.TargetPath, config.StagingPath = filepath.Join(dir, "target"), filepath.Join(dir, "staging")
	config.TestVolumeAccessType = rawBlock
	config.TestNodeVolumeAttachLimit = !shared
	config.TestVolumeParameters = map[string]string{"storage_type": "block", "disk_type": "nvme"}
	// The names of csi-sanity are not those of claims, whose labels alone can have a note.
	config.TestVolumeMutableParameters = map[string]string{"label": ""}
	made := fileSystems{wish: access}
	switch {
	case shared:
		config.TestVolumeAccessType = "mount"
		config.TestVolumeParameters["storage_type"] = "vfs"
		if access == "vfs-shared" {
			ask(&config, bySeveralNodes)
		}
	case access != rawBlock:
		config.TestVolumeAccessType = "mount"
		config.TestVolumeParameters[params.FSType] = access
		ask(&config, made.ask)
	}
	config.IDGen = ids{}

	suite := sanity.GinkgoTest(&config)
	defer suite.Finalize()
	ginkgo.ReportAfterSuite("outcomes", writeReport)
	gomega.RegisterFailHandler(ginkgo.Fail)
	ginkgo.RunSpecs(t, "CSI driver, "+access+" volumes")
	if left := cloud.Sim.View(); len(left.Blocks)+len(left.FileSystems) > 0 {
		t.Errorf("%d volumes and %d file systems are left in the account", len(left.Blocks), len(left.FileSystems))
	}
	if left := cloud.Sim.View().Snapshots; len(left) > 0 {
		t.Errorf("snapshots are left in the account: %+v", left)
	}
	if !shared && access != rawBlock && made.staged.Load() == 0 {
		t.Errorf("no volume was staged as %s", access)
	}
}

// ids makes IDs in the form of the platform, and others.
type ids struct{}

// GenerateUniqueValidVolumeID makes the ID of a volume that does not exist.
func (ids) GenerateUniqueValidVolumeID() string { return uuid.NewString() }

// GenerateInvalidVolumeID makes what cannot be the ID of a volume.
func (ids) GenerateInvalidVolumeID() string { return "not-a-volume" }

// GenerateUniqueValidNodeID makes the ID of an instance that does not exist.
func (ids) GenerateUniqueValidNodeID() string { return uuid.NewString() }

// GenerateInvalidNodeID makes what cannot be the ID of an instance.
func (ids) GenerateInvalidNodeID() string { return "not-a-node" }

// writeReport writes what became of the specs to the file that TestSanity reads.
func writeReport(report ginkgo.Report) {
	var outcomes []outcome
	for _, spec := range report.SpecReports {
		if spec.LeafNodeType.String() != "It" {
			continue
		}
		outcomes = append(outcomes, outcome{
			Spec:  strings.Join(append(spec.ContainerHierarchyTexts, spec.LeafNodeText), " / "),
			State: spec.State.String(), Why: spec.Failure.Message, Took: spec.RunTime,
		})
	}
	raw, err := json.Marshal(outcomes)
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	gomega.Expect(os.WriteFile(os.Getenv(envReport), raw, 0o600)).To(gomega.Succeed())
}
