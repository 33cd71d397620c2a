package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testaddr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testkube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/registration"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// asProgram makes the test binary the program itself.
const asProgram = "CSI_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program starts the program and returns it with what it writes.
func program(t *testing.T, env []string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &out
}

// starting bounds the wait for a program that was just started: one that has ended by a fault never answers.
func starting(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestBadInput: every fault is one clear line, the exit code is 1, and nothing is left behind.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s.sock")
	good := []string{"--mode=controller", "--region=ewr", "--endpoint=" + socket, "--http-endpoint=", "--api-key-file=/none"}
	for name, c := range map[string]struct {
		args  []string
		lines []string
	}{
		"unknown flag":       {[]string{"--nonsense"}, []string{"nonsense"}},
		"unknown flag value": {[]string{"--mode=both"}, []string{`--mode is "both"`}},
		"two faults":         {append(good[:5:5], "--api-url=x", "--logging-format=x"), []string{"--logging-format", "--api-url"}},
		"port taken":         {append(good[:5:5], "--http-endpoint="+taken.Addr().String()), []string{"address already in use"}},
		"endpoint is a file": {append(good[:5:5], "--endpoint="+file), []string{"not a socket"}},
		"no such directory":  {append(good[:5:5], "--endpoint=/none/s.sock"), []string{"--endpoint"}},
	} {
		t.Run(name, func(t *testing.T) {
			cmd, out := program(t, []string{"VULTR_API_KEY=SECRETKEY0123456789SECRETKEY012345678"}, c.args...)
			_ = cmd.Wait() // the exit code says it
			if code := cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("exit code %d", code)
			}
			var complaints []string
			for line := range strings.Lines(out.String()) {
				if strings.HasPrefix(line, "csi: ") {
					complaints = append(complaints, line)
				}
			}
			if len(complaints) != len(c.lines) {
				t.Fatalf("the output is %s", out)
			}
			for i, want := range c.lines {
				if !strings.Contains(complaints[i], want) {
					t.Errorf("%q does not say %q", complaints[i], want)
				}
			}
			if strings.Contains(out.String(), "SECRETKEY") {
				t.Error("the key is in the output")
			}
			if _, err := os.Lstat(socket); err == nil {
				t.Error("a socket is left")
			}
		})
	}
}

func TestVersionAndHelp(t *testing.T) {
	for _, flag := range []string{"--version", "--help"} {
		cmd, out := program(t, nil, flag)
		if err := cmd.Wait(); err != nil || out.Len() == 0 {
			t.Errorf("%s: %v, %q", flag, err, out)
		}
	}
}

// eventually asks a process until it answers as wanted: from outside nothing else shows that it got there.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond) // between two looks; only what is waited for ends the wait
	}
}

func dial(t *testing.T, socket string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestNodeProgram runs a node plugin as a kubelet sees it: registration, health, who it is, and its end.
func TestNodeProgram(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a node plugin refuses to run without it")
	}
	cloud := simtest.Start(t, simtest.Options{})
	instance := cloud.AddInstance(simulator.NewServer{Label: "node-1", Region: "ewr"})
	dir := t.TempDir()
	token, scrape := filepath.Join(dir, "token"), testaddr.Next().String()
	socket, health := filepath.Join(dir, "csi.sock"), testaddr.Next().String()
	records, err := state.Open(filepath.Join(dir, "state"))
	if err == nil {
		err = records.WriteStaged(state.Staged{VolumeID: "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8", Serial: "ewr-ae6c4452b93b4f"})
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd, out := program(t, nil, "--mode=node", "--endpoint=unix://"+socket, "--http-endpoint="+health,
		"--metadata-url="+cloud.MetadataURL(instance), "--device-dir="+dir, "--sysfs-block-dir="+dir,
		"--metrics-endpoint="+scrape, "--metrics-token-file="+token, "--state-dir="+filepath.Join(dir, "state"), "--kubelet-root="+dir, "--plugin-registration-dir="+dir, "--logging-format=json", "--v=4")
	kubelet := registerapi.NewRegistrationClient(dial(t, registration.SocketPath(dir, "block.csi.vultr.com")))
	if _, err := kubelet.GetInfo(starting(t), &registerapi.InfoRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	conn := dial(t, socket)
	info, err := csi.NewNodeClient(conn).NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
	if err != nil || info.GetNodeId() != instance || info.GetMaxVolumesPerNode() != 11 {
		t.Errorf("info is %v, %v", info, err)
	}
	_, err = csi.NewControllerClient(conn).ListVolumes(t.Context(), &csi.ListVolumesRequest{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("a node answers for a controller: %v", err)
	}
	expect(t, health, "/healthz", http.StatusOK, "ok")
	expect(t, health, "/readyz", http.StatusServiceUnavailable, "not registered")
	tell := func(s *registerapi.RegistrationStatus) {
		t.Helper()
		if _, err := kubelet.NotifyRegistrationStatus(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	tell(&registerapi.RegistrationStatus{Error: "label collision"})
	expect(t, health, "/healthz", http.StatusOK, "ok")
	expect(t, health, "/readyz", http.StatusServiceUnavailable, "label collision")
	tell(&registerapi.RegistrationStatus{PluginRegistered: true})
	expect(t, health, "/readyz", http.StatusOK, "ok")
	expect(t, health, "/metrics", http.StatusOK, "\ncsi_max_volumes 11\n")
	// It works without the token, which nobody has written yet.
	expectNoScrapes(t, scrape)
	if file := writeToken(t, dir); file != token {
		t.Fatalf("the token is in %s", file)
	}
	expectScrapes(t, scrape, "\ncsi_max_volumes 11\n")
	eventually(t, "it has looked at its volumes", func() error {
		if _, text := get(t, health, "/metrics"); !strings.Contains(text, `csi_volume_conditions{reason="DiskMissing",storage_type="block"} 1`) {
			return errors.New(text)
		}
		return nil
	})
	end(t, cmd, out)
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "{") {
			t.Errorf("the log has a line that is no JSON: %s", line)
		}
	}
	if lines := strings.Count(out.String(), "The token for metrics can"); lines != 2 || strings.Contains(out.String(), scrapeToken) {
		t.Errorf("the log has %d lines about the token, want one that it is missing and one that it is there:\n%s", lines, out)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.sock")); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	for _, request := range cloud.Requests() {
		t.Errorf("a node called the API: %+v", request)
	}
}

// TestNodeProgramInACluster: the Node object has a say in how many volumes the node can have, and which instance it is.
func TestNodeProgramInACluster(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a node plugin refuses to run without it")
	}
	cloud := simtest.Start(t, simtest.Options{})
	instance := cloud.AddInstance(simulator.NewServer{Label: "node-1", Region: "ewr"})
	kube := testkube.New(t)
	put := func(providerID string) {
		kube.Put("/api/v1/nodes/node-1", `{"metadata":{"labels":{"block.csi.vultr.com/max-volumes":"5"}},"spec":{"providerID":"`+providerID+`"}}`)
	}
	put("vultr://" + instance)
	dir := t.TempDir()
	socket, health := filepath.Join(dir, "csi.sock"), testaddr.Next().String()
	cmd, out := program(t, append(kube.Environ(), "NODE_NAME=node-1"), "--mode=node", "--endpoint=unix://"+socket, "--http-endpoint="+health,
		"--metadata-url="+cloud.MetadataURL(instance), "--device-dir="+dir, "--sysfs-block-dir="+dir, "--account-dir="+kube.AccountDir,
		"--state-dir="+filepath.Join(dir, "state"), "--kubelet-root="+dir, "--plugin-registration-dir="+dir)
	kubelet := registerapi.NewRegistrationClient(dial(t, registration.SocketPath(dir, "block.csi.vultr.com")))
	if _, err := kubelet.GetInfo(starting(t), &registerapi.InfoRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	node := csi.NewNodeClient(dial(t, socket))
	info, err := node.NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
	if err != nil || info.GetNodeId() != instance || info.GetMaxVolumesPerNode() != 5 {
		t.Errorf("info is %v, %v", info, err)
	}
	put("vultr://3f2504e0-4f89-41d3-9a0c-0305e82c3301")
	_, err = node.NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), instance) || !strings.Contains(err.Error(), "3f2504e0") {
		t.Errorf("with a contradiction: %v", err)
	}
	expect(t, health, "/readyz", http.StatusServiceUnavailable, "contradiction")
	end(t, cmd, out)
	for _, request := range kube.Requests() {
		if request != "GET /api/v1/nodes/node-1" {
			t.Errorf("it asked the cluster %s", request)
		}
	}
}

// TestPreStopProgram: what the kubelet runs before it ends the plugin waits for the volumes of a node that is drained, for
// as long as it was told to, and does not hold up a rollout.
func TestPreStopProgram(t *testing.T) {
	const node, attachments = "/api/v1/nodes/node-1", "/apis/storage.k8s.io/v1/volumeattachments/"
	kube := testkube.New(t)
	kube.Put(attachments+"csi-1", `{"metadata":{"uid":"1"},"spec":{"attacher":"block.csi.vultr.com","nodeName":"node-1"}}`)
	env := append(kube.Environ(), "NODE_NAME=node-1")
	hook := func(timeout string) error {
		cmd, out := program(t, env, "--mode=pre-stop", "--account-dir="+kube.AccountDir, "--pre-stop-timeout="+timeout)
		if err := cmd.Wait(); err != nil {
			return errors.New(out.String())
		}
		return nil
	}
	kube.Put(node, `{}`)
	if err := hook("1h"); err != nil {
		t.Errorf("in a rollout: %v", err)
	}
	kube.Put(node, `{"spec":{"taints":[{"key":"node.kubernetes.io/unschedulable"}]}}`)
	if err := hook("1s"); err == nil || !strings.Contains(err.Error(), "csi: node node-1 is to go") || !strings.Contains(err.Error(), "csi-1") {
		t.Errorf("when its time is up: %v", err)
	}
	kube.Fault(func(_, path string) int {
		if path == attachments+"csi-1" {
			kube.Delete(path)
		}
		return 0
	})
	if err := hook("1h"); err != nil || kube.Object(attachments+"csi-1") != "" {
		t.Errorf("of a node that is drained: %v", err)
	}
}

// TestOfficialRegion: a node reports the official driver's topology key when told to, as the metadata service spells
// it, also when the region itself is named by a flag.
func TestOfficialRegion(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a node plugin refuses to run without it")
	}
	cloud := simtest.Start(t, simtest.Options{})
	instance := cloud.AddInstance(simulator.NewServer{Label: "node-1", Region: "ewr"})
	for _, c := range []struct {
		flags []string
		want  map[string]string
	}{
		{nil, map[string]string{"topology.block.csi.vultr.com/region": "ewr"}},
		{[]string{"--report-official-region"}, map[string]string{"topology.block.csi.vultr.com/region": "ewr", "region": "EWR"}},
		{
			[]string{"--report-official-region", "--region=ewr", "--node-id=" + instance},
			map[string]string{"topology.block.csi.vultr.com/region": "ewr", "region": "EWR"},
		},
	} {
		dir := t.TempDir()
		cmd, out := program(t, nil, append(c.flags, "--mode=node", "--endpoint="+filepath.Join(dir, "csi.sock"), "--http-endpoint=",
			"--metadata-url="+cloud.MetadataURL(instance), "--device-dir="+dir, "--sysfs-block-dir="+dir,
			"--state-dir="+filepath.Join(dir, "state"), "--kubelet-root="+dir, "--plugin-registration-dir="+dir)...)
		kubelet := registerapi.NewRegistrationClient(dial(t, registration.SocketPath(dir, "block.csi.vultr.com")))
		// It shows itself to the kubelet when it knows who it is.
		if _, err := kubelet.GetInfo(starting(t), &registerapi.InfoRequest{}, grpc.WaitForReady(true)); err != nil {
			t.Fatal(err, out)
		}
		info, err := csi.NewNodeClient(dial(t, filepath.Join(dir, "csi.sock"))).NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
		if got := info.GetAccessibleTopology().GetSegments(); err != nil || !maps.Equal(got, c.want) {
			t.Errorf("with %v: %v, %v", c.flags, got, err)
		}
		end(t, cmd, out)
	}
}

// TestDeletedSockets: with a socket's file gone nobody gets in any more, and a restart is what heals that.
func TestDeletedSockets(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a node plugin refuses to run without it")
	}
	cloud := simtest.Start(t, simtest.Options{})
	instance := cloud.AddInstance(simulator.NewServer{Label: "node-1", Region: "ewr"})
	for _, name := range []string{"csi.sock", "block.csi.vultr.com-reg.sock"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			health := testaddr.Next().String()
			cmd, out := program(t, nil, "--mode=node", "--endpoint=unix://"+filepath.Join(dir, "csi.sock"), "--http-endpoint="+health,
				"--metadata-url="+cloud.MetadataURL(instance), "--device-dir="+dir, "--sysfs-block-dir="+dir,
				"--state-dir="+filepath.Join(dir, "state"), "--kubelet-root="+dir, "--plugin-registration-dir="+dir)
			kubelet := registerapi.NewRegistrationClient(dial(t, registration.SocketPath(dir, "block.csi.vultr.com")))
			if _, err := kubelet.GetInfo(starting(t), &registerapi.InfoRequest{}, grpc.WaitForReady(true)); err != nil {
				t.Fatal(err)
			}
			expect(t, health, "/healthz", http.StatusOK, "ok")
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			expect(t, health, "/healthz", http.StatusServiceUnavailable, name)
			end(t, cmd, out)
		})
	}
}

// controllerProgram starts a controller with the key in a file, and waits until it serves.
func controllerProgram(t *testing.T, cloud *simtest.Cloud, key string) (cmd *exec.Cmd, out *bytes.Buffer, conn *grpc.ClientConn, health, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "csi.sock")
	health, keyFile = testaddr.Next().String(), filepath.Join(dir, "key")
	if err := os.WriteFile(keyFile, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, out = program(t, nil, "--mode=controller", "--endpoint=unix://"+socket, "--http-endpoint="+health,
		"--api-key-file="+keyFile, "--api-url="+cloud.URL, "--region=ewr", "--v=5")
	conn = dial(t, socket)
	if _, err := csi.NewIdentityClient(conn).GetPluginInfo(starting(t), &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	return cmd, out, conn, health, keyFile
}

// TestControllerProgramInACluster: it removes the start-up taint of nodes that the driver serves.
func TestControllerProgramInACluster(t *testing.T) {
	const node = "/api/v1/nodes/node-1"
	cloud, kube := simtest.Start(t, simtest.Options{}), testkube.New(t)
	kube.Put(node, `{"metadata":{"uid":"1"},"spec":{"taints":[{"key":"block.csi.vultr.com/agent-not-ready","effect":"NoExecute"}]}}`)
	kube.Put("/apis/storage.k8s.io/v1/csinodes/node-1", `{"metadata":{"ownerReferences":[{"uid":"1"}]},
		"spec":{"drivers":[{"name":"block.csi.vultr.com","nodeID":"x","allocatable":{"count":11}}]}}`)
	cmd, out := program(t, append(kube.Environ(), "VULTR_API_KEY="+cloud.Key), "--mode=controller", "--region=ewr", "--http-endpoint=",
		"--endpoint="+filepath.Join(t.TempDir(), "csi.sock"), "--api-key-file=/none", "--api-url="+cloud.URL, "--account-dir="+kube.AccountDir)
	eventually(t, "the taint is gone", func() error {
		if got := kube.Object(node); strings.Contains(got, "agent-not-ready") {
			return errors.New(got)
		}
		return nil
	})
	end(t, cmd, out)
}

func TestControllerProgram(t *testing.T) {
	cloud := simtest.Start(t, simtest.Options{})
	cmd, out, conn, health, _ := controllerProgram(t, cloud, cloud.Key)
	if _, err := csi.NewControllerClient(conn).ListVolumes(t.Context(), &csi.ListVolumesRequest{}); err != nil {
		t.Error(err)
	}
	expect(t, health, "/healthz", http.StatusOK, "ok")
	expect(t, health, "/readyz", http.StatusOK, "ok")
	expect(t, health, "/metrics", http.StatusOK, "\ncsi_api_key_accepted 1\n")
	_, err := csi.NewControllerClient(conn).DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "5f0b3a1c-8b9e-4c57-9d2f-0c6f2f6f9a10"})
	if status.Code(err) != codes.Unavailable { // an account without instances proves nothing
		t.Errorf("the delete of a volume of which nobody knows: %v", err)
	}
	expect(t, health, "/metrics", http.StatusOK, "\ncsi_pending_operations{method=\"DeleteVolume\"} 1\n")
	_, err = csi.NewNodeClient(conn).NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("a controller answers for a node: %v", err)
	}
	end(t, cmd, out)
	if strings.Contains(out.String(), cloud.Key) {
		t.Error("the key is in the log")
	}
}

func end(t *testing.T, cmd *exec.Cmd, out *bytes.Buffer) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v:\n%s", err, out)
	}
}

// expect asks the process and compares what it answers.
func expect(t *testing.T, addr, path string, code int, text string) {
	t.Helper()
	if gotCode, got := get(t, addr, path); gotCode != code || !strings.Contains(got, text) {
		t.Errorf("%s answers %d, %s; want %d and %q", path, gotCode, got, code, text)
	}
}

func get(t *testing.T, addr, path string) (code int, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}
