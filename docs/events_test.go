package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
)

const eventsPage = "events.md"

// TestEventReferenceIsGenerated compares the page with the tables of reasons. After a change of one:
// go test ./docs -run EventReference -update.
func TestEventReferenceIsGenerated(t *testing.T) {
	want := eventReference()
	if *update {
		if err := os.WriteFile(eventsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := pages(t)[eventsPage]; got != want {
		t.Errorf("%s differs from the tables; run: go test ./docs -run EventReference -update", eventsPage)
	}
}

const eventsHead = `<!-- Generated from pkg/cloud/reason and the table in docs/events_test.go by: go test ./docs -run EventReference -update -->
# Events

` + "`kubectl describe`" + ` shows them with the object; all of one reason are listed by

` + "```sh" + `
kubectl get events -A --field-selector reason=SyncLoadBalancerFailed
` + "```" + `

Kubernetes keeps Events for an hour. What is still wrong then is not said again, unless it changes or the controller is
restarted; [metrics](operation.md#metrics) tell what is wrong now. ` + "`Normal`" + ` Events need nothing to be done.
Kubernetes' own controllers, the kubelet and the CSI sidecars make further ones.

## Of the cloud controller manager

| reason | type | object | what has happened | what to do |
|---|---|---|---|---|
`

func eventReference() string {
	var b strings.Builder
	b.WriteString(eventsHead)
	for _, event := range reason.All() {
		kind := "Normal"
		if event.Warning {
			kind = "Warning"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", event.Reason, kind, event.Object, event.Meaning, event.Remedy)
	}
	b.WriteString("\n## Of the CSI driver\n\n| reason | type | object | what has happened | what to do |\n|---|---|---|---|---|\n")
	for _, event := range driverEvents {
		fmt.Fprintf(&b, "| `%s` | Warning | %s | %s | %s |\n", event.Reason, event.Object, event.Meaning, event.Remedy)
	}
	return b.String()
}

// driverEvents are the Events that the CSI driver makes itself. All are warnings.
var driverEvents = []reason.Event{
	{Reason: events.DeprecatedParameter, Object: "PersistentVolumeClaim", Meaning: "the claim's class spells a parameter as earlier versions did; the claim is fine", Remedy: "nothing, or a new class by the Event's text: [parameters](block-volumes.md#classes)"},
	{Reason: events.AttachPending, Object: "PersistentVolumeClaim", Meaning: "the platform has not attached the volume for 90 seconds", Remedy: "`kubectl describe volumeattachment` says what is waited for; see the instance in the Vultr console if it stays so"},
	{Reason: events.DetachPending, Object: "PersistentVolumeClaim", Meaning: "the platform has not detached the volume for 90 seconds; a pod elsewhere may wait for it", Remedy: "the same"},
	{Reason: events.CopyPending, Object: "PersistentVolumeClaim", Meaning: "a volume that is made from a snapshot or from another volume takes longer than five minutes", Remedy: "wait; the provisioner's Events say what for"},
	{Reason: events.SnapshotPending, Object: "VolumeSnapshot", Meaning: "a snapshot takes longer than five minutes", Remedy: "wait"},
	{Reason: events.OtherRegion, Object: "PersistentVolumeClaim", Meaning: "the pod was placed on a node of another region than its volume's, which cannot be attached there", Remedy: "run the pod on nodes of that region: [troubleshooting](troubleshooting.md#volumes)"},
	{Reason: events.VolumeLimitLowered, Object: "Node", Meaning: "the platform refused one more volume for the instance, so the node can have fewer than was thought", Remedy: "nothing: [how many](node-plugin.md#how-many-volumes-a-node-can-have)"},
	{Reason: events.OfficialControllerRuns, Object: "StatefulSet or Pod in kube-system", Meaning: "the official CSI controller, or a pod that it has left behind, is there; this one does nothing beside it and is not ready", Remedy: "delete one of the two: [side by side](migrate.md#side-by-side); nothing has to be restarted"},
	{Reason: events.OrphanedVolume, Object: "CSIDriver, in namespace default", Meaning: "a volume of the cluster is named by no PersistentVolume, and is paid for", Remedy: "import or delete it: [orphaned volumes](block-volumes.md#orphaned-volumes)"},
	{Reason: events.OrphanedSnapshot, Object: "CSIDriver, in namespace default", Meaning: "a snapshot of the cluster is named by no VolumeSnapshotContent, and is paid for", Remedy: "the same"},
}

// TestDriverEventsAreComplete: the table has each reason that the driver knows.
func TestDriverEventsAreComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../pkg/driver/events/events.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !spec.Names[0].IsExported() {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		found++
		text, err := strconv.Unquote(literal.Value)
		if err != nil || !slices.ContainsFunc(driverEvents, func(e reason.Event) bool { return e.Reason == text }) {
			t.Errorf("the table lacks %s", literal.Value)
		}
		return true
	})
	if found != len(driverEvents) {
		t.Errorf("%d reasons were found, the table has %d", found, len(driverEvents))
	}
}
