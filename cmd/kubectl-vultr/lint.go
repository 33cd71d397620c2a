package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/joined"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/lint"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/manifest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
)

func newLint(c *common) *cobra.Command {
	var files, defaults []string
	var strict bool
	cmd := &cobra.Command{
		Use:   "lint [-f FILE]...",
		Short: "Say what the controllers would say about Services, StorageClasses, claims and volumes",
		Long: "With -f the objects of files are judged, without a cluster; else those of the cluster. Each finding has its file and line or its namespace and name, and what to do.\n" +
			"It exits with 1 if there is an error among them, with --strict also for a warning.",
		Example: "  kubectl vultr lint -f service.yaml\n  kubectl vultr lint -f manifests/ --strict -o json\n  helm template web | kubectl vultr lint -f -\n  kubectl vultr lint -A",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.check(); err != nil {
				return err
			}
			findings, err := c.lint(cmd.Context(), files, defaults)
			if err != nil {
				return err
			}
			if findings == nil {
				findings = []report.Finding{} // an empty list in JSON
			}
			if err := c.write(findings, func(tab *report.Tab) { tab.Findings(findings) }); err != nil {
				return err
			}
			return answered(report.Code(findings, strict))
		},
	}
	cmd.Flags().StringArrayVarP(&files, "filename", "f", nil, "file or directory with objects, - for standard input; may be given several times")
	cmd.Flags().StringArrayVar(&defaults, "default", nil, "value of an annotation for Services that do not have it, as name=value: what --vultr-load-balancer-default of the cluster's controller says; only with -f")
	cmd.Flags().BoolVar(&strict, "strict", false, "count warnings as errors")
	return c.namespaced(cmd)
}

func (c *common) lint(ctx context.Context, files, defaults []string) ([]report.Finding, error) {
	if len(files) == 0 {
		if len(defaults) > 0 {
			return nil, errors.New("--default is for files: the cluster's own defaults are read from its controller")
		}
		return c.lintCluster(ctx)
	}
	values := map[string]string{}
	for _, text := range defaults {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("--default: %q is not name=value", text)
		}
		values[name] = value
	}
	parsed, err := settings.ParseDefaults(values)
	if err != nil {
		return nil, fmt.Errorf("--default: %w", err)
	}
	var objects []manifest.Object
	var findings []report.Finding
	for _, file := range files {
		found, faults, err := c.read(file)
		if err != nil {
			return nil, err
		}
		objects, findings = append(objects, found...), append(findings, faults...)
	}
	findings = append(findings, lint.Files(objects, lint.Context{Defaults: parsed})...)
	lint.Sort(findings)
	return findings, nil
}

// read reads a file, a directory's files, or standard input. A document that is not an object is a finding.
func (c *common) read(name string) (objects []manifest.Object, findings []report.Finding, err error) {
	if name == "-" {
		content, err := io.ReadAll(c.in)
		if err != nil {
			return nil, nil, fmt.Errorf("reading standard input: %w", err)
		}
		objects, findings = parse("-", content)
		return objects, findings, nil
	}
	names, err := filesOf(name)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, fmt.Errorf("reading what to judge: %w", err)
		}
		found, faults := parse(name, content)
		objects, findings = append(objects, found...), append(findings, faults...)
	}
	return objects, findings, nil
}

// filesOf returns the files that a name stands for: itself, or what kubectl would take of a directory.
func filesOf(name string) ([]string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("reading what to judge: %w", err)
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, fmt.Errorf("reading what to judge: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if !entry.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(entry.Name())) {
			names = append(names, filepath.Join(name, entry.Name()))
		}
	}
	return names, nil
}

func parse(name string, content []byte) ([]manifest.Object, []report.Finding) {
	objects, err := manifest.Parse(name, content)
	var findings []report.Finding
	for _, fault := range joined.Errors(err) {
		f := report.Finding{Severity: report.Error, Check: "object", File: name, Problem: fault.Error(), Remedy: "write a Kubernetes object in YAML or JSON"}
		if at, ok := errors.AsType[*manifest.ParseError](fault); ok {
			f.Line, f.Problem = at.Line, at.Err.Error()
		}
		findings = append(findings, f)
	}
	return objects, findings
}

func (c *common) lintCluster(ctx context.Context) ([]report.Finding, error) {
	cluster, err := c.connect()
	if err != nil {
		return nil, err
	}
	namespace := c.chosen(cluster)
	workloads, err := cluster.Workloads(ctx)
	if err != nil {
		return nil, err
	}
	installed, err := c.settings(ctx, cluster, workloads)
	if err != nil {
		return nil, err
	}
	classes, err := cluster.Classes(ctx)
	if err != nil {
		return nil, err
	}
	judged := lint.Context{Defaults: installed.Defaults, KubeProxyPort: installed.KubeProxyPort, Classes: classes}
	findings, err := c.lintNamespace(ctx, cluster, namespace, judged)
	if err != nil {
		return nil, err
	}
	if namespace == "" {
		for i := range classes {
			findings = append(findings, lint.StorageClass(lint.InCluster("StorageClass", "", classes[i].Name), &classes[i])...)
		}
		volumes, err := cluster.Volumes(ctx)
		if err != nil {
			return nil, err
		}
		for _, pv := range volumes {
			findings = append(findings, lint.Volume(lint.InCluster("PersistentVolume", "", pv.Name), pv)...)
		}
	}
	lint.Sort(findings)
	return findings, nil
}

// lintNamespace judges what is in a namespace, or in all of them, and the Namespaces themselves if all are meant.
func (c *common) lintNamespace(ctx context.Context, cluster *kube.Cluster, namespace string, judged lint.Context) ([]report.Finding, error) {
	var findings []report.Finding
	services, err := cluster.Services(ctx, namespace)
	if err != nil {
		return nil, err
	}
	named, err := c.named(ctx, cluster, services)
	if err != nil {
		return nil, err
	}
	judged.Named = func(service *v1.Service) []plan.Option { return named[service.UID] }
	for _, service := range services {
		findings = append(findings, lint.Service(lint.InCluster("Service", service.Namespace, service.Name), service, judged)...)
	}
	claims, err := cluster.Claims(ctx, namespace)
	if err != nil {
		return nil, err
	}
	for _, claim := range claims {
		findings = append(findings, lint.Claim(lint.InCluster("PersistentVolumeClaim", claim.Namespace, claim.Name), claim, judged)...)
	}
	if namespace != "" {
		return findings, nil
	}
	namespaces, err := cluster.Namespaces(ctx)
	if err != nil {
		return nil, err
	}
	for _, found := range namespaces {
		findings = append(findings, lint.Namespace(lint.InCluster("Namespace", "", found.Name), found)...)
	}
	return findings, nil
}
