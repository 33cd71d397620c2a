package sanity

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"
	sanity "github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

const (
	region = "ewr"
	// attachLimit is what the simulated platform enforces, so that the attach limit test meets a real refusal.
	attachLimit = "16"
	// startTimeout is generous: the machine may be busy with other tests.
	startTimeout = time.Minute
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
	controller := startDriver(t, filepath.Join(dir, "controller.sock"), []string{"VULTR_API_KEY=" + cloud.Key},
		"--mode=controller", "--api-key-file=/nonexistent", "--api-url="+cloud.URL, "--region="+region,
		"--platform-time-scale="+strconv.FormatFloat(simtest.FastTimeScale, 'g', -1, 64))
	disks := filepath.Join(cloud.DisksDir, "instances", instance)
	for _, d := range []string{"devices", "block"} {
		if err := os.MkdirAll(filepath.Join(disks, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	node := startDriver(t, filepath.Join(dir, "node.sock"), nil,
		"--mode=node", "--metadata-url="+cloud.MetadataURL(instance), "--device-dir="+filepath.Join(disks, "devices"),
		"--sysfs-block-dir="+filepath.Join(disks, "block"), "--state-dir="+filepath.Join(dir, "state"),
		"--max-volumes-per-node="+attachLimit, "--plugin-registration-dir=")

	config := sanity.NewTestConfig()
	config.Address, config.ControllerAddress = "unix://"+node, "unix://"+controller
	config.TargetPath, config.StagingPath = filepath.Join(dir, "target"), filepath.Join(dir, "staging")
	config.TestVolumeAccessType = access
	config.TestNodeVolumeAttachLimit = true
	config.TestVolumeParameters = map[string]string{"storage_type": "block", "disk_type": "nvme"}
	config.IDGen = ids{}

	suite := sanity.GinkgoTest(&config)
	defer suite.Finalize()
	ginkgo.ReportAfterSuite("outcomes", writeReport)
	gomega.RegisterFailHandler(ginkgo.Fail)
	ginkgo.RunSpecs(t, "CSI driver, "+access+" volumes")
	if left := cloud.Sim.View().Blocks; len(left) > 0 {
		t.Errorf("%d volumes are left in the account", len(left))
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

// startDriver starts the built binary, waits until it is ready, and ends it with the test. It returns its socket.
func startDriver(t *testing.T, socket string, env []string, args ...string) string {
	t.Helper()
	log, err := os.Create(socket + ".log")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Getenv(envBinary), append(args, "--endpoint=unix://"+socket, "--http-endpoint=", "-v=4")...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("the driver ended early: %v", err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the driver did not end well: %v", err)
		}
		_ = log.Close() // written by the driver
		if raw, err := os.ReadFile(socket + ".log"); err == nil {
			if t.Failed() || os.Getenv("SANITY_LOGS") != "" {
				t.Logf("log of %s:\n%s", filepath.Base(socket), raw)
			}
			if strings.Contains(string(raw), simtest.Key) {
				t.Error("the API key is in the log")
			}
		}
	})
	awaitReady(t, socket)
	return socket
}

// awaitReady waits until the driver says that it is ready and a node knows itself.
func awaitReady(t *testing.T, socket string) {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // only asked
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	resp, err := csi.NewIdentityClient(conn).Probe(ctx, &csi.ProbeRequest{}, grpc.WaitForReady(true))
	if err != nil || !resp.GetReady().GetValue() {
		t.Fatalf("the driver on %s is not ready: %v", socket, err)
	}
	// A node has to hear from the metadata service first; a controller does not implement this.
	for {
		_, err := csi.NewNodeClient(conn).NodeGetInfo(ctx, &csi.NodeGetInfoRequest{})
		if status.Code(err) != codes.Unavailable {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the node does not know itself: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
