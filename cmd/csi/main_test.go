package main

import (
	"bytes"
	"context"
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

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/registration"
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

// program starts the program and gives it with what it writes to standard error.
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

// eventually waits until the check passes.
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
	socket, health := filepath.Join(dir, "csi.sock"), freePort(t)
	cmd, out := program(t, nil, "--mode=node", "--endpoint=unix://"+socket, "--http-endpoint="+health,
		"--metadata-url="+cloud.MetadataURL(instance), "--device-dir="+dir, "--sysfs-block-dir="+dir,
		"--state-dir="+filepath.Join(dir, "state"), "--plugin-registration-dir="+dir, "--logging-format=json", "--v=4")
	kubelet := registerapi.NewRegistrationClient(dial(t, registration.SocketPath(dir, "block.csi.vultr.com")))
	eventually(t, "the registration", func() error {
		_, err := kubelet.GetInfo(t.Context(), &registerapi.InfoRequest{})
		return err
	})
	conn := dial(t, socket)
	info, err := csi.NewNodeClient(conn).NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
	if err != nil || info.GetNodeId() != instance || info.GetMaxVolumesPerNode() != 11 {
		t.Errorf("info is %v, %v", info, err)
	}
	_, err = csi.NewControllerClient(conn).ListVolumes(t.Context(), &csi.ListVolumesRequest{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("a node answers for a controller: %v", err)
	}
	if code := healthz(t, health); code != http.StatusOK {
		t.Errorf("healthz is %d", code)
	}
	if _, err := kubelet.NotifyRegistrationStatus(t.Context(), &registerapi.RegistrationStatus{Error: "refused"}); err != nil {
		t.Fatal(err)
	}
	if code := healthz(t, health); code != http.StatusServiceUnavailable {
		t.Errorf("healthz of a node that the kubelet refused is %d", code)
	}
	end(t, cmd, out)
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "{") {
			t.Errorf("the log has a line that is no JSON: %s", line)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.sock")); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	for _, request := range cloud.Requests() {
		t.Errorf("a node called the API: %+v", request)
	}
}

// TestControllerProgram: a key that is refused makes it unhealthy, one that is replaced in the file heals it.
func TestControllerProgram(t *testing.T) {
	cloud := simtest.Start(t, simtest.Options{})
	dir := t.TempDir()
	socket, health, key := filepath.Join(dir, "csi.sock"), freePort(t), filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte(cloud.Key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, out := program(t, nil, "--mode=controller", "--endpoint=unix://"+socket, "--http-endpoint="+health,
		"--api-key-file="+key, "--api-url="+cloud.URL, "--region=ewr", "--v=5")
	client := csi.NewControllerClient(dial(t, socket))
	eventually(t, "the first answer", func() error {
		_, err := client.ListVolumes(t.Context(), &csi.ListVolumesRequest{})
		return err
	})
	if code := healthz(t, health); code != http.StatusOK {
		t.Errorf("healthz is %d", code)
	}
	_, err := csi.NewNodeClient(dial(t, socket)).NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
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

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func healthz(t *testing.T, addr string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
