package controller

import (
	"encoding/base64"
	"testing"
	"unicode/utf8"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestTokens: a token of ours names the ID after which to go on. Everything else is Aborted, so that the caller starts
// again, and never a page from somewhere else.
func TestTokens(t *testing.T) {
	const id = "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
	if after, err := parseToken(token(id)); after != id || err != nil {
		t.Errorf("got %q, %v", after, err)
	}
	if after, err := parseToken(""); after != "" || err != nil {
		t.Errorf("without a token: got %q, %v", after, err)
	}
	for name, bad := range map[string]string{
		"an ID": id, "an ID without our prefix": base64.RawURLEncoding.EncodeToString([]byte(id)),
		"our prefix and no ID": token("nothing"), "our prefix alone": token(""), "padded": token(id) + "=", "not base64": "!" + token(id),
	} {
		if after, err := parseToken(bad); status.Code(err) != codes.Aborted || after != "" {
			t.Errorf("%s: got %q, %v", name, after, err)
		}
	}
}

// FuzzTokens: whatever comes as a token is refused as a whole or names an ID, and the page that follows has what comes after
// that, in order, and nothing else.
func FuzzTokens(f *testing.F) {
	const id = "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
	for _, t := range []string{"", id, token(id), token(id) + "\n", token("AE6C4452-B93B-4F4D-B8C1-2CEA28D99FB8"), token("nothing"), "YWZ0ZXI6"} {
		f.Add(t, int32(1))
	}
	all := []string{"00000000-0000-0000-0000-000000000000", "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb7", id, "ffffffff-ffff-ffff-ffff-ffffffffffff"}
	f.Fuzz(func(t *testing.T, text string, most int32) {
		after, err := parseToken(text)
		if err != nil {
			if status.Code(err) != codes.Aborted || after != "" || !utf8.ValidString(err.Error()) {
				t.Errorf("%q gives %q, %v", text, after, err)
			}
			return
		}
		if (after == "") != (text == "") || after != "" && !volume.ValidID(after) {
			t.Errorf("%q is taken for %q", text, after)
		}
		if again, err := parseToken(token(after)); after != "" && (again != after || err != nil) {
			t.Errorf("%q becomes %q, %v", after, again, err)
		}
		if most < 0 {
			return // which is refused before
		}
		page, more := pageAfter(all, func(s string) string { return s }, after, int(most))
		left := 0
		for _, s := range all {
			if s > after {
				left++
			}
		}
		if more != (len(page) < left) || len(page) > left || !more && len(page) != left {
			t.Errorf("after %q %d of %d are on the page, and more follow: %t", after, len(page), left, more)
		}
		for i, s := range page {
			if s != all[len(all)-left+i] {
				t.Errorf("after %q the page has %q", after, page)
			}
		}
	})
}

// FuzzIDs: what has not the form of the platform's IDs names no volume, snapshot or instance. That needs no look anywhere:
// this service has no cloud to look at. An ID is the same in capitals.
func FuzzIDs(f *testing.F) {
	const id = "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
	for _, s := range []string{"", id, "AE6C4452-B93B-4F4D-B8C1-2CEA28D99FB8", id + "/", id + "\n", "../" + id, " " + id, "volume/" + id, "ae6c4452b93b4f4db8c12cea28d99fb8"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if volume.ValidID(s) {
			if lower := platformID(s); !volume.ValidID(lower) || platformID(lower) != lower || len(lower) != len(id) {
				t.Errorf("%q becomes %q", s, lower)
			}
			return
		}
		missing := codes.NotFound // if it is asked for
		gone := codes.OK          // if it is to be taken away
		if s == "" {
			missing, gone = codes.InvalidArgument, codes.InvalidArgument
		}
		blind := &Service{}
		call := func(name string, want codes.Code, do func() error) {
			t.Helper()
			if err := do(); status.Code(err) != want || err != nil && !utf8.ValidString(err.Error()) {
				t.Errorf("%s of %q: got %v, want %s", name, s, err, want)
			}
		}
		call("ControllerGetVolume", missing, func() error {
			_, err := blind.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: s})
			return err
		})
		call("ControllerModifyVolume", missing, func() error {
			_, err := blind.ControllerModifyVolume(t.Context(), &csi.ControllerModifyVolumeRequest{VolumeId: s})
			return err
		})
		call("ControllerExpandVolume", missing, func() error {
			_, err := blind.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{VolumeId: s, CapacityRange: &csi.CapacityRange{}})
			return err
		})
		call("GetSnapshot", missing, func() error {
			_, err := blind.GetSnapshot(t.Context(), &csi.GetSnapshotRequest{SnapshotId: s})
			return err
		})
		call("DeleteVolume", gone, func() error {
			_, err := blind.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: s})
			return err
		})
		call("DeleteSnapshot", gone, func() error {
			_, err := blind.DeleteSnapshot(t.Context(), &csi.DeleteSnapshotRequest{SnapshotId: s})
			return err
		})
		call("ControllerUnpublishVolume", gone, func() error {
			_, err := blind.ControllerUnpublishVolume(t.Context(), &csi.ControllerUnpublishVolumeRequest{VolumeId: s, NodeId: id})
			return err
		})
		if s == "" {
			return // which is no instance, but all of them; and all snapshots
		}
		call("ControllerUnpublishVolume", codes.OK, func() error {
			_, err := blind.ControllerUnpublishVolume(t.Context(), &csi.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: s})
			return err
		})
		call("ListSnapshots", codes.OK, func() error {
			resp, err := blind.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{SnapshotId: s})
			if n := len(resp.GetEntries()); n > 0 {
				t.Errorf("%d snapshots are called %q", n, s)
			}
			return err
		})
	})
}
