package main

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testaddr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testkube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// TestBesideTheOfficialController: the program lives, says why it is not ready, and carries out nothing, until the official one
// is gone. It does not end for that.
func TestBesideTheOfficialController(t *testing.T) {
	const set = "/apis/apps/v1/namespaces/kube-system/statefulsets/csi-vultr-controller"
	cloud, kube := simtest.Start(t, simtest.Options{}), testkube.New(t)
	kube.Put(set, `{"metadata":{"uid":"1"},"spec":{"replicas":1,"template":{"spec":{"containers":[{"name":"csi-vultr-plugin","image":"vultr/vultr-csi:v0.18.0"}]}}},
		"status":{"replicas":1}}`)
	socket, health := filepath.Join(t.TempDir(), "csi.sock"), testaddr.Next().String()
	cmd, out := program(t, append(kube.Environ(), "VULTR_API_KEY="+cloud.Key), "--mode=controller", "--region=ewr", "--http-endpoint="+health,
		"--endpoint="+socket, "--api-key-file=/none", "--api-url="+cloud.URL, "--account-dir="+kube.AccountDir)
	client := csi.NewControllerClient(dial(t, socket))
	if _, err := client.ControllerGetCapabilities(starting(t), &csi.ControllerGetCapabilitiesRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Errorf("it does not say what it can do: %v", err)
	}
	if _, err := client.ListVolumes(t.Context(), &csi.ListVolumesRequest{}); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "StatefulSet kube-system/csi-vultr-controller") {
		t.Errorf("it works: %v", err)
	}
	expect(t, health, "/healthz", http.StatusOK, "ok")
	expect(t, health, "/readyz", http.StatusServiceUnavailable, "StatefulSet kube-system/csi-vultr-controller")
	eventually(t, "the Event is written", func() error {
		if requests := kube.Requests(); !slices.Contains(requests, "POST /api/v1/namespaces/kube-system/events") {
			return fmt.Errorf("the apiserver was asked %q", requests)
		}
		return nil
	})
	kube.Delete(set)
	eventually(t, "it is ready", func() error {
		if code, text := get(t, health, "/readyz"); code != http.StatusOK {
			return errors.New(text)
		}
		return nil
	})
	if _, err := client.ListVolumes(t.Context(), &csi.ListVolumesRequest{}); err != nil {
		t.Errorf("it does not work: %v", err)
	}
	end(t, cmd, out)
}
