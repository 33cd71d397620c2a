package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/pending"
)

// told collects warnings.
type told struct {
	mu  sync.Mutex
	all []string
}

func (w *told) Warn(_ context.Context, claim events.Claim, reason, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, claim.Volume+" "+reason+" "+message)
}

// TestLate: an attach and a detach that the platform does not carry out for long are told, in words that stay the same. What
// others say, and what somebody has to act on, is not.
func TestLate(t *testing.T) {
	waits, full := status.Error(codes.Unavailable, "locked"), status.Error(codes.ResourceExhausted, "full")
	for name, c := range map[string]struct {
		req    any
		result error
		reason string
	}{
		"attach":        {&csi.ControllerPublishVolumeRequest{VolumeId: "v", NodeId: "i"}, waits, events.AttachPending},
		"detach":        {&csi.ControllerUnpublishVolumeRequest{VolumeId: "v", NodeId: "i"}, waits, events.DetachPending},
		"a full node":   {&csi.ControllerPublishVolumeRequest{VolumeId: "v", NodeId: "i"}, full, ""},
		"create":        {&csi.CreateVolumeRequest{Name: "v"}, waits, ""},
		"a long mkfs":   {&csi.NodeStageVolumeRequest{VolumeId: "v", StagingTargetPath: "/s"}, waits, ""},
		"done in time":  {&csi.ControllerUnpublishVolumeRequest{VolumeId: "v", NodeId: "i"}, nil, ""},
		"what is wrong": {&csi.ControllerUnpublishVolumeRequest{VolumeId: "v", NodeId: "i"}, status.Error(codes.InvalidArgument, "bad"), ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			warner := &told{}
			watch := pending.New(late(warner))
			for range 5 { // at 40, 80, 120, 160 and 200 s
				_, _ = watch.Intercept(t.Context(), c.req, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) {
					time.Sleep(40 * time.Second) // of the fake clock
					return nil, c.result
				})
			}
			if c.reason == "" {
				if len(warner.all) > 0 {
					t.Errorf("%s: told was %q", name, warner.all)
				}
				return
			}
			if len(warner.all) != 3 || warner.all[0] != warner.all[2] || !strings.HasPrefix(warner.all[0], "v "+c.reason+" Volume v is not ") ||
				!strings.Contains(warner.all[0], "instance i, 1m30s after") {
				t.Errorf("%s: told was %q", name, warner.all)
			}
		})
	}
}

// TestLateCopy: a clone and a restore that take long are told to the owner of the claim, seldom, and with the time. A volume
// that is made empty is not.
func TestLateCopy(t *testing.T) {
	const uid = "0b6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
	fromSnapshot := &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: "s"}}}
	fromVolume := &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: "v"}}}
	for from, source := range map[string]*csi.VolumeContentSource{"snapshot s": fromSnapshot, "volume v": fromVolume, "": nil} {
		synctest.Test(t, func(t *testing.T) {
			written := &copies{about: events.Claim{Namespace: "team", Name: "data", UID: uid}}
			watch := pending.New(late(written))
			req := &csi.CreateVolumeRequest{Name: "pvc-" + uid, VolumeContentSource: source, Parameters: map[string]string{
				"csi.storage.k8s.io/pvc/namespace": "team", "csi.storage.k8s.io/pvc/name": "data",
			}}
			for range 40 { // for 20 minutes
				_, _ = watch.Intercept(t.Context(), req, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) {
					time.Sleep(30 * time.Second) // of the fake clock
					return nil, status.Error(codes.Unavailable, "waiting for the snapshot")
				})
			}
			var want []string
			if source != nil {
				want = []string{"made from " + from + " yet, 5m0s after", "made from " + from + " yet, 15m0s after"}
			}
			if len(written.messages) != len(want) {
				t.Fatalf("from %q: told was %q", from, written.messages)
			}
			for i, words := range want {
				if !strings.Contains(written.messages[i], words) {
					t.Errorf("from %q: told was %q, want %q", from, written.messages[i], words)
				}
			}
		})
	}
}

// copies collects the different messages about one claim.
type copies struct {
	about    events.Claim
	messages []string
}

func (w *copies) Warn(_ context.Context, claim events.Claim, reason, message string) {
	if claim == w.about && reason == events.CopyPending && !slices.Contains(w.messages, message) {
		w.messages = append(w.messages, message)
	}
}
