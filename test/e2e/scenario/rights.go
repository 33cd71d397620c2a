package scenario

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/rights"
)

// ofProduct selects the objects of deploy/manifests that are about rights.
const ofProduct = "app in (vultr-ccm,csi-vultr-controller,csi-vultr-node)"

// snapshotController is the account of what is beside the product, and is made for it.
const snapshotController = "system:serviceaccount:kube-system:snapshot-controller"

// driverProgram is what the CSI driver calls itself.
const driverProgram = "cloud-provider-vultr-csi"

// programOf says which program of the CSI controller's pod a role is for: all of them have one account. "" is for several.
var programOf = map[string]string{
	"csi-vultr-controller":                  driverProgram,
	"csi-vultr-controller-snapshots":        driverProgram,
	"csi-vultr-provisioner":                 "csi-provisioner",
	"csi-vultr-provisioner-snapshots":       "csi-provisioner",
	"csi-vultr-capacity":                    "csi-provisioner",
	"csi-vultr-attacher":                    "csi-attacher",
	"csi-vultr-resizer":                     "csi-resizer",
	"csi-vultr-snapshotter":                 "csi-snapshotter",
	"csi-vultr-snapshotter-leader-election": "csi-snapshotter",
	"csi-vultr-leader-election":             "",
}

// controllerAccount is that account.
const controllerAccount = "system:serviceaccount:kube-system:csi-vultr-controller-sa"

// NothingDenied checks that no program of the product has asked the apiserver for what it may not have.
func NothingDenied() Step {
	return Step{"the apiserver has denied nothing", func(ctx context.Context, w *World) (string, error) {
		grants, err := w.grants(ctx)
		if err != nil {
			return "", err
		}
		asked, err := w.asked()
		if err != nil {
			return "", err
		}
		// Who is not in the log was not watched.
		made := map[string]int{}
		for _, c := range asked {
			made[c.User]++
		}
		accounts := map[string]bool{snapshotController: true}
		for _, g := range grants {
			accounts[g.User] = true
		}
		var faults []error
		for account := range accounts {
			if made[account] == 0 {
				faults = append(faults, fmt.Errorf("the audit log has no call of %s: is it among those whose calls are written down?", account))
			}
		}
		for _, denied := range rights.Denied(asked) {
			faults = append(faults, fmt.Errorf("denied: %s", denied))
		}
		return fmt.Sprintf("%d calls of %d accounts", len(asked), len(accounts)), errors.Join(faults...)
	}}
}

// NothingNeedless checks that every right of the product was used, but for those of which it is known when they are.
func NothingNeedless() Step {
	return Step{"every right is used, or it is known when it is", func(ctx context.Context, w *World) (string, error) {
		known, err := rights.ReadKnown(filepath.Join(w.Source, "test", "e2e", "rights", "known.yaml"))
		if err != nil {
			return "", err
		}
		grants, err := w.grants(ctx)
		if err != nil {
			return "", err
		}
		asked, err := w.asked()
		if err != nil {
			return "", err
		}
		unused := rights.Unused(grants, asked)
		notes, err := rights.Judge(grants, unused, known)
		for _, note := range notes {
			w.Report.Add("%s: was used, though there is a reason why it need not be", note)
		}
		if err != nil {
			err = fmt.Errorf("%w\nwho has asked: %v", err, programs(asked))
		}
		return fmt.Sprintf("%d rights, of which %d were not used", len(grants), len(unused)), err
	}}
}

// asked reads the audit log.
func (w *World) asked() ([]rights.Call, error) {
	log, err := os.Open(w.AuditLog())
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // only read
	return rights.Read(log)
}

// programs lists the accounts with their programs, for whoever wonders why a role seems unused.
func programs(asked []rights.Call) []string {
	var all []string
	for _, c := range asked {
		if who := c.User + " (" + c.Program + ")"; !slices.Contains(all, who) {
			all = append(all, who)
		}
	}
	slices.Sort(all)
	return all
}

// grants lists what the roles of the product, as they are in the cluster, give to its accounts.
func (w *World) grants(ctx context.Context) ([]rights.Grant, error) {
	rules, err := w.roles(ctx)
	if err != nil {
		return nil, err
	}
	bindings, err := w.bindings(ctx)
	if err != nil {
		return nil, err
	}
	var grants []rights.Grant
	bound := map[string]bool{}
	for _, b := range bindings {
		role := b.role.Kind + " " + b.role.Name
		its, ours := rules[role]
		if !ours {
			continue // one of Kubernetes' own
		}
		bound[role] = true
		for _, subject := range b.subjects {
			user := "system:serviceaccount:" + cmp.Or(subject.Namespace, b.namespace) + ":" + subject.Name
			program, known := programOf[b.role.Name]
			if user == controllerAccount && !known {
				return nil, fmt.Errorf("which program of %s is the role %s for? It has to be in programOf", user, role)
			}
			for _, right := range rights.Of(its) {
				grants = append(grants, rights.Grant{Right: right, Role: role, User: user, Namespace: b.namespace, Program: program})
			}
		}
	}
	for role := range rules {
		if !bound[role] {
			return nil, fmt.Errorf("nobody has the role %s", role)
		}
	}
	return grants, nil
}

// roles are the rules of the product's roles, by their kinds and names.
func (w *World) roles(ctx context.Context) (map[string][]rbacv1.PolicyRule, error) {
	options := metav1.ListOptions{LabelSelector: ofProduct}
	everywhere, err := w.Kubernetes.RbacV1().ClusterRoles().List(ctx, options)
	if err != nil {
		return nil, err
	}
	inOne, err := w.Kubernetes.RbacV1().Roles(metav1.NamespaceAll).List(ctx, options)
	if err != nil {
		return nil, err
	}
	rules := map[string][]rbacv1.PolicyRule{}
	for i := range everywhere.Items {
		rules["ClusterRole "+everywhere.Items[i].Name] = everywhere.Items[i].Rules
	}
	for i := range inOne.Items {
		rules["Role "+inOne.Items[i].Name] = inOne.Items[i].Rules
	}
	if len(rules) == 0 {
		return nil, errors.New("the cluster has no roles of the product")
	}
	return rules, nil
}

// binding gives accounts a role, in one namespace if it has one.
type binding struct {
	role      rbacv1.RoleRef
	subjects  []rbacv1.Subject
	namespace string
}

// bindings are the product's.
func (w *World) bindings(ctx context.Context) ([]binding, error) {
	options := metav1.ListOptions{LabelSelector: ofProduct}
	everywhere, err := w.Kubernetes.RbacV1().ClusterRoleBindings().List(ctx, options)
	if err != nil {
		return nil, err
	}
	inOne, err := w.Kubernetes.RbacV1().RoleBindings(metav1.NamespaceAll).List(ctx, options)
	if err != nil {
		return nil, err
	}
	var all []binding
	for i := range everywhere.Items {
		all = append(all, binding{everywhere.Items[i].RoleRef, everywhere.Items[i].Subjects, ""})
	}
	for i := range inOne.Items {
		all = append(all, binding{inOne.Items[i].RoleRef, inOne.Items[i].Subjects, inOne.Items[i].Namespace})
	}
	return all, nil
}
