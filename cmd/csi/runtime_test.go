package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testaddr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// TestRateAndVerbosity: the flag's rate is that of the API client, and calls are logged from when that was asked for. The
// environment alone has the program use the FIPS 140-3 module.
func TestRateAndVerbosity(t *testing.T) {
	cloud := simtest.Start(t, simtest.Options{})
	socket, health := filepath.Join(t.TempDir(), "csi.sock"), testaddr.Next().String()
	cmd, out := program(t, []string{"VULTR_API_KEY=" + cloud.Key, "GODEBUG=fips140=on"}, "--mode=controller", "--region=ewr", "--http-endpoint="+health,
		"--endpoint="+socket, "--api-key-file=/none", "--api-url="+cloud.URL, "--api-start-rate=7", "--logging-format=json")
	list := func() {
		t.Helper()
		if _, err := csi.NewControllerClient(dial(t, socket)).ListVolumes(starting(t), &csi.ListVolumesRequest{}, grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
	}
	list()
	expect(t, health, "/metrics", http.StatusOK, "\nvultr_api_limiter_rate 7\n")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+health+"/debug/flags/v", strings.NewReader("4"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the verbosity: %s, %v", resp.Status, err)
	}
	list()
	end(t, cmd, out)
	if !strings.Contains(out.String(), `"fips140":true`) {
		t.Error("the FIPS 140-3 module is not used")
	}
	if n := strings.Count(out.String(), `"msg":"Answered"`); n != 1 {
		t.Errorf("%d calls were logged:\n%s", n, out)
	}
}
