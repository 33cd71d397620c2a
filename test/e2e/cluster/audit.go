package cluster

import (
	"os"

	"sigs.k8s.io/yaml"
)

// audited are the accounts in kube-system whose calls the apiserver writes down: the product's own and the snapshot-controller's.
var audited = []string{"vultr-ccm", "csi-vultr-controller-sa", "csi-vultr-node-sa", "snapshot-controller"}

// auditPolicy is the name of the file that says what the apiserver writes down, auditLog that of the file into which it does, below
// the run's directory.
const (
	auditPolicy = "audit-policy.yaml"
	auditLog    = "audit.log"
)

// writeAuditPolicy has the apiserver write down who asked for what, and what came of it, but no contents.
func (r *Run) writeAuditPolicy() error {
	users := make([]string, 0, len(audited))
	for _, name := range audited {
		users = append(users, "system:serviceaccount:kube-system:"+name)
	}
	content, err := yaml.Marshal(map[string]any{
		"apiVersion": "audit.k8s.io/v1", "kind": "Policy",
		// What was begun and not answered was not judged either. A watch is written down when it begins.
		"omitStages": []string{"RequestReceived"},
		"rules":      []map[string]any{{"level": "Metadata", "users": users}, {"level": "None"}},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(r.path(auditPolicy), content, 0o600)
}

// AuditLog is the file in which the apiserver writes down every call of the product's accounts and of the snapshot-controller's.
func (c *Cluster) AuditLog() string { return c.run.path("logs", auditLog) }
