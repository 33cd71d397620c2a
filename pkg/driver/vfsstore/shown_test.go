package vfsstore

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestOffer: where file systems are sold there is no largest size that anybody documents, which is not the size 0.
func TestOffer(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		for name, c := range map[string]struct {
			t      volume.DiskType
			region string
			want   volume.Offer
		}{
			"sold":          {volume.NVMe, "ewr", volume.Offer{MinGiB: 10, MaxGiB: volume.Unbounded}},
			"anywhere":      {volume.NVMe, "", volume.Offer{MinGiB: 10, MaxGiB: volume.Unbounded}},
			"another disk":  {volume.HDD, "ewr", volume.Offer{}},
			"not sold here": {volume.NVMe, "xxx", volume.Offer{}},
		} {
			if got, err := r.Offer(t.Context(), c.t, c.region); err != nil || got != c.want {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
		if n := r.cloud.Count("list_vfs_regions"); n != 1 {
			t.Errorf("it took %d lists of the regions", n)
		}
	})
}

// TestExamine: what the platform says of a file system is said by itself and in the list of those that are unwell.
func TestExamine(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		id := r.create("pvc-1")
		if got, err := r.Examine(t.Context(), id); err != nil || len(got) != 0 {
			t.Errorf("one that is well: %+v, %v", got, err)
		}
		body := fmt.Sprintf(`{"id":%q,"region":"ewr","date_created":"2000-01-01T00:00:00+00:00","status":"error","label":"pvc-1","tags":[],"disk_type":"nvme",`+
			`"storage_size":{"bytes":10737418240,"gb":10},"storage_used":{"bytes":0,"gb":0},"billing":{"charges":0,"monthly":1}}`, id)
		r.cloud.Fault(simulator.Fault{Operation: "get_vfs", Action: simulator.FaultStatus, Status: http.StatusOK, Body: body})
		r.cloud.Fault(simulator.Fault{Operation: "list_vfs", Action: simulator.FaultStatus, Status: http.StatusOK, Body: `{"vfs":[` + body + `]}`})
		one, err := r.Examine(t.Context(), id)
		if err != nil || len(one) != 1 || one[0].Reason != "VolumeFailed" || one[0].Severity != volume.Inaccessible {
			t.Errorf("one that failed: %+v, %v", one, err)
		}
		all, err := r.ExamineAll(t.Context(), 0)
		if err != nil || len(all) != 1 || len(all[id]) != 1 || all[id][0] != one[0] {
			t.Errorf("of all: %+v, %v", all, err)
		}
	})
}

// TestLabelAndCost: a file system has the label of its cluster, with the note that it was given, and its price.
func TestLabelAndCost(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		mine := &rig{Store: New(r.api, Options{Cluster: "one"}), api: r.api, cloud: r.cloud, t: t}
		id := mine.create("pvc-1")
		if got := r.named("one/pvc-1"); len(got) != 1 || got[0] != id {
			t.Errorf("%s is not labelled as the cluster's", id)
		}
		if f, err := r.api.FileSystem(t.Context(), id); err != nil || !slices.Equal(f.Tags, []string{"csi-cluster-one"}) {
			t.Errorf("it has the tags %q, %v", f.Tags, err)
		}
		if f, err := r.api.FileSystem(t.Context(), r.create("pvc-2")); err != nil || len(f.Tags) != 0 {
			t.Errorf("that of a cluster without an ID has the tags %q, %v", f.Tags, err)
		}
		if again := mine.create("pvc-1"); again != id {
			t.Errorf("found is %s, not %s", again, id)
		}
		const claims = "pvc-0b6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
		id = mine.create(claims)
		r.must(mine.Modify(t.Context(), id, map[string]string{"label": "team a"}))
		if got := r.named("one/" + claims + " (team a)"); len(got) != 1 || got[0] != id || mine.create(claims) != id {
			t.Errorf("%s has no note, or is not found with it: %s", id, got)
		}
		v, err := mine.Read(t.Context(), id)
		if err != nil || v.MonthlyCost != 1 {
			t.Errorf("got %+v, %v", v, err)
		}
	})
}
