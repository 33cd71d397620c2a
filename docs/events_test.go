package docs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
)

const eventsPage = "events.md"

// TestEventReferenceIsGenerated compares the page with the table of reasons. After a change of the table:
// go test ./docs -run EventReference -update.
func TestEventReferenceIsGenerated(t *testing.T) {
	want := eventReference()
	if *update {
		if err := os.WriteFile(eventsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := pages(t)[eventsPage]; got != want {
		t.Errorf("%s differs from the table in pkg/cloud/reason; run: go test ./docs -run EventReference -update", eventsPage)
	}
}

const eventsHead = `<!-- Generated from pkg/cloud/reason by: go test ./docs -run EventReference -update -->
# Events of the cloud controller manager

` + "`kubectl describe`" + ` shows them with the object; all of one reason are listed by

` + "```sh" + `
kubectl get events -A --field-selector reason=SyncLoadBalancerFailed
` + "```" + `

Kubernetes keeps Events for an hour. What is still wrong then is not said again, unless it changes or the controller is
restarted; [metrics](operation.md#metrics) tell what is wrong now. ` + "`Normal`" + ` Events need nothing to be done.
Kubernetes' own controllers make further ones.

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
	return b.String()
}
