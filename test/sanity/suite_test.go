package sanity

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"
	sanity "github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"
	"google.golang.org/grpc"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/csiprocess"
)

const (
	// rawBlock is the access type of volumes without a file system; the others are file systems.
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
	cloud := simtest.Start(t, simtest.Options{Disks: true})
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
	for _, d := range []string{"devices", "block"} {
		if err := os.MkdirAll(filepath.Join(disks, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	csiprocess.Start(t, csiprocess.Driver{Binary: os.Getenv(envBinary), Socket: node, Args: []string{
		"--mode=node", "--metadata-url=" + cloud.MetadataURL(instance), "--device-dir=" + filepath.Join(disks, "devices"),
		"--sysfs-block-dir=" + filepath.Join(disks, "block"), "--state-dir=" + filepath.Join(dir, "state"), "--kubelet-root=" + dir,
		"--max-volumes-per-node=" + attachLimit, "--plugin-registration-dir=",
	}})

	config := sanity.NewTestConfig()
	config.Address, config.ControllerAddress = "unix://"+node, "unix://"+controller
	config.TargetPath, config.StagingPath = filepath.Join(dir, "target"), filepath.Join(dir, "staging")
	config.TestVolumeAccessType = rawBlock
	config.TestNodeVolumeAttachLimit = true
	config.TestVolumeParameters = map[string]string{"storage_type": "block", "disk_type": "nvme"}
	made := fileSystems{wish: access}
	if access != rawBlock {
		config.TestVolumeAccessType = "mount"
		config.TestVolumeParameters[params.FSType] = access
		ask := grpc.WithChainUnaryInterceptor(made.ask)
		config.DialOptions, config.ControllerDialOptions = append(config.DialOptions, ask), append(config.ControllerDialOptions, ask)
	}
	config.IDGen = ids{}

	suite := sanity.GinkgoTest(&config)
	defer suite.Finalize()
	ginkgo.ReportAfterSuite("outcomes", writeReport)
	gomega.RegisterFailHandler(ginkgo.Fail)
	ginkgo.RunSpecs(t, "CSI driver, "+access+" volumes")
	if left := cloud.Sim.View().Blocks; len(left) > 0 {
		t.Errorf("%d volumes are left in the account", len(left))
	}
	if access != rawBlock && made.staged.Load() == 0 {
		t.Errorf("no volume was staged as %s", access)
	}
}

// fileSystems names the file system in what csi-sanity asks for, which itself leaves it open.
type fileSystems struct {
	wish string
	// staged counts the stagings that succeeded.
	staged atomic.Int64
}

// ask is a client's interceptor.
func (f *fileSystems) ask(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	var capabilities []*csi.VolumeCapability
	if r, ok := req.(interface {
		GetVolumeCapability() *csi.VolumeCapability
	}); ok {
		capabilities = append(capabilities, r.GetVolumeCapability())
	}
	if r, ok := req.(interface {
		GetVolumeCapabilities() []*csi.VolumeCapability
	}); ok {
		capabilities = append(capabilities, r.GetVolumeCapabilities()...)
	}
	for _, c := range capabilities {
		if m := c.GetMount(); m != nil && m.GetFsType() == "" {
			m.FsType = f.wish
		}
	}
	err := call(ctx, method, req, reply, conn, opts...)
	if r, ok := req.(*csi.NodeStageVolumeRequest); ok && err == nil && r.GetVolumeCapability().GetMount().GetFsType() == f.wish {
		f.staged.Add(1)
	}
	return err
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
