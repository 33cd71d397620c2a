package main

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// TestARefusedKeyIsNotReadyUntilItIsReplaced: no restart is asked for, and none is needed.
func TestARefusedKeyIsNotReadyUntilItIsReplaced(t *testing.T) {
	cloud := simtest.Start(t, simtest.Options{})
	cmd, out, conn, health, keyFile := controllerProgram(t, cloud, "AWRONGKEY0123456789AWRONGKEY012345678")
	expect(t, health, "/readyz", http.StatusServiceUnavailable, "refuses the API key")
	expect(t, health, "/healthz", http.StatusOK, "ok")
	expect(t, health, "/metrics", http.StatusOK, "\ncsi_api_key_accepted 0\n")
	probe, err := csi.NewIdentityClient(conn).Probe(t.Context(), &csi.ProbeRequest{})
	if err != nil || probe.GetReady().GetValue() {
		t.Errorf("Probe answers %v, %v", probe, err)
	}
	// As the kubelet does: a whole new file takes the place of the old one.
	if err := os.WriteFile(keyFile+".new", []byte(cloud.Key), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(keyFile+".new", keyFile); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready", func() error {
		if code, text := get(t, health, "/readyz"); code != http.StatusOK {
			return errors.New(text)
		}
		return nil
	})
	expect(t, health, "/metrics", http.StatusOK, "\ncsi_api_key_accepted 1\n")
	end(t, cmd, out) // the process that was started at first: it never ended in between
	if strings.Contains(out.String(), "KEY0123456789") {
		t.Error("a key is in the log")
	}
}

// TestAMissingRightIsReady: who may not read the account may still create volumes.
func TestAMissingRightIsReady(t *testing.T) {
	cloud := simtest.Start(t, simtest.Options{})
	cloud.Fault(simulator.Fault{Operation: "get_account", Action: "status", Status: http.StatusForbidden, Body: `{"error":"Forbidden","status":403}`})
	cmd, out, conn, health, _ := controllerProgram(t, cloud, cloud.Key)
	expect(t, health, "/readyz", http.StatusOK, "ok")
	expect(t, health, "/metrics", http.StatusOK, "\ncsi_api_key_accepted 1\n")
	if _, err := csi.NewControllerClient(conn).ListVolumes(t.Context(), &csi.ListVolumesRequest{}); err != nil {
		t.Error(err)
	}
	end(t, cmd, out)
}
