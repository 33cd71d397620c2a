package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testkube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// TestCostOfVolumes: the flags decide how much of the cost of volumes is shown: each claim, each namespace alone, or nothing.
func TestCostOfVolumes(t *testing.T) {
	const name = "csi_volumes_monthly_cost_dollars"
	cloud, kube := simtest.Start(t, simtest.Options{Config: simulator.Config{ReadLags: simulator.NoReadLag()}}), testkube.New(t)
	api, err := vultr.New(vultr.Config{BaseURL: cloud.URL, Key: cloud.Key})
	if err != nil {
		t.Fatal(err)
	}
	disk, err := api.CreateVolume(t.Context(), vultr.VolumeRequest{Label: "pvc-1", Region: "ewr", SizeGB: 30, Type: vultr.HighPerf})
	if err != nil {
		t.Fatal(err)
	}
	kube.Put("/api/v1/persistentvolumes", fmt.Sprintf(`{"items":[{"spec":{"csi":{"driver":"block.csi.vultr.com","volumeHandle":%q},
		"claimRef":{"namespace":"shop","name":"data","uid":"1"}}}]}`, disk.ID))
	client, err := kubeapi.InCluster(kube.Getenv, kube.AccountDir)
	if err != nil {
		t.Fatal(err)
	}
	for flag, claim := range map[string]string{"--mode=controller": "data", "--cost-by-claim=false": "", "--orphan-age=0": "-"} {
		env := func(key string) string { return map[string]string{"VULTR_API_KEY": cloud.Key}[key] }
		cfg, err := Read([]string{"--mode=controller", "--region=ewr", "--api-key-file=/none", "--api-url=" + cloud.URL, flag}, env)
		if err != nil {
			t.Fatal(err)
		}
		p := &process{cfg: cfg, registry: prometheus.NewRegistry(), self: newSelfSource(cfg, client), kube: client}
		if err := p.addController(); err != nil {
			t.Fatal(err)
		}
		if p.orphans == nil {
			if claim != "-" {
				t.Errorf("%s: nobody looks", flag)
			}
			continue
		}
		if err := p.orphans.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("# HELP %[1]s What the volumes that PersistentVolumes name cost a month, by claim and by the platform's own word, at the last look.\n"+
			"# TYPE %[1]s gauge\n%[1]s{namespace=\"shop\",persistentvolumeclaim=%[2]q,storage_type=\"block\"} 3\n", name, claim)
		if err := testutil.GatherAndCompare(p.registry, strings.NewReader(want), name); err != nil {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
