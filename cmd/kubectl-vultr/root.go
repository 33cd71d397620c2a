package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/version"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/api"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
)

const help = `Show and check what the Vultr cloud controller manager and CSI driver do.

The API key is read from the environment variable VULTR_API_KEY, else from the Secrets that the controllers mount, which are
kube-system/vultr-ccm and kube-system/vultr-csi in the manifests. It is never an argument. Exit codes: 0 is all well, 1 is
that something was found, 2 is that the question could not be answered.`

// common are the flags that all commands have.
type common struct {
	environment

	options       kube.Options
	output        string
	apiURL        string
	namespace     string
	allNamespaces bool
}

func newRoot(e environment) *cobra.Command {
	c := &common{environment: e}
	root := &cobra.Command{
		Use: "kubectl-vultr", Short: "Show and check what the Vultr controllers do", Long: help,
		Version: version.Get().String(), SilenceErrors: true, SilenceUsage: true,
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl vultr"},
	}
	root.SetIn(e.in)
	root.SetOut(e.out)
	root.SetErr(e.err)
	flags := root.PersistentFlags()
	flags.StringVar(&c.options.Kubeconfig, "kubeconfig", "", "file that says how to reach the cluster, as for kubectl")
	flags.StringVar(&c.options.Context, "context", "", "context of that file, its current one if empty")
	flags.StringVarP(&c.output, "output", "o", "table", "table, json or yaml")
	flags.StringVar(&c.apiURL, "api-url", e.getenv(api.EnvURL), "scheme and host of the Vultr API, https://api.vultr.com if empty; the environment variable "+api.EnvURL+" sets the default")
	root.AddCommand(newLint(c), newBalancers(c), newVolumes(c), newOrphans(c), newDoctor(c))
	return root
}

// namespaced adds the flags by which kubectl chooses namespaces.
func (c *common) namespaced(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVarP(&c.namespace, "namespace", "n", "", "namespace, that of the context if empty")
	cmd.Flags().BoolVarP(&c.allNamespaces, "all-namespaces", "A", false, "all namespaces")
	return cmd
}

// chosen returns the namespace that is meant, "" for all.
func (c *common) chosen(cluster *kube.Cluster) string {
	switch {
	case c.allNamespaces:
		return ""
	case c.namespace != "":
		return c.namespace
	}
	return cluster.Namespace
}

// connect returns the cluster.
func (c *common) connect() (*kube.Cluster, error) {
	options := c.options
	options.UserAgent = userAgent()
	return c.cluster(options)
}

// platform returns the API with the key of the environment, or of the first of the Secrets that has one.
func (c *common) platform(ctx context.Context, cluster *kube.Cluster, secrets ...string) (*api.Client, error) {
	key, source, err := api.Key(ctx, c.getenv, cluster, secrets...)
	if err != nil {
		return nil, err
	}
	client, err := api.New(key, c.apiURL, userAgent())
	if err != nil {
		return nil, fmt.Errorf("%w (the key is that of %s)", err, source)
	}
	return client, nil
}

// write writes an answer in the format that is asked for.
func (c *common) write(value any, table func(*report.Tab)) error {
	format, err := report.ParseFormat(c.output)
	if err != nil {
		return err
	}
	return report.Write(c.out, format, value, table)
}

// check refuses a format before anything is read.
func (c *common) check() error {
	_, err := report.ParseFormat(c.output)
	return err
}

// say writes a line for people, which is not a part of the answer.
func say(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, format+"\n", args...) // nobody is left to tell
}
