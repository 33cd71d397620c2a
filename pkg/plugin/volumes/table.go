package volumes

import (
	"fmt"
	"slices"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
)

// Table writes volumes for people: a row for each place where one is, and below them what does not fit together.
func Table(tab *report.Tab, all []Volume) {
	if len(all) == 0 {
		tab.Note("No PersistentVolume is of the CSI driver.")
		return
	}
	tab.Row("CLAIM", "PERSISTENTVOLUME", "VOLUME", "KIND", "GIB", "$/MONTH", "INSTANCE", "NODE", "DEVICE")
	for _, v := range all {
		size, cost := "", ""
		if v.Kind != "" {
			size, cost = fmt.Sprint(v.SizeGiB), fmt.Sprintf("%.2f", v.MonthlyCost)
		}
		row := []string{v.Claim, v.PV, v.ID, string(v.Kind), size, cost}
		if len(v.Attachments) == 0 {
			tab.Row(append(row, "", "", "")...)
		}
		for _, a := range v.Attachments {
			tab.Row(append(slices.Clip(row), a.Instance, a.Node, a.Device)...)
		}
	}
	tab.Note("")
	tab.Note("%d PersistentVolumes, %.2f dollars a month.", len(all), Cost(all))
	for _, v := range all {
		for _, p := range v.Problems {
			tab.Note("%s: %s. What to do: %s.", v.PV, p.Problem, p.Remedy)
		}
	}
}
