package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/box"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cgroup"
)

// startOuter makes the outer box.
func (c *Cluster) startOuter(ctx context.Context) error {
	if err := cgroup.Create(c.run.cgroup(outerName)); err != nil {
		return err
	}
	spec := box.Spec{
		Name: outerName, Dir: c.run.path(outerName), Root: c.config.Artifacts.Root, Cgroup: c.run.cgroup(outerName),
		Binds: []box.Bind{
			{Source: c.config.CacheDir, Target: c.config.CacheDir},
			{Source: c.config.Artifacts.Programs, Target: c.config.Artifacts.Programs},
			{Source: c.run.Dir, Target: c.run.Dir},
		},
	}
	for _, dir := range c.options.Shared {
		spec.Binds = append(spec.Binds, box.Bind{Source: dir, Target: dir})
	}
	argv, err := spec.Write(c.run.path("bin", "cluster"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.run.path("logs"), 0o700); err != nil {
		return err
	}
	log, err := os.Create(c.run.path("logs", "outer.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the init has its own
	// Not CommandContext: the box is to outlive this call, and its removal is Down's.
	init := exec.Command(argv[0], argv[1:]...) //nolint:gosec,noctx // G204: this very program; see above
	init.Stdout, init.Stderr = log, log
	init.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: box.Namespaces}
	if err := init.Start(); err != nil {
		return fmt.Errorf("start the outer box: %w", err)
	}
	ended := make(chan error, 1)
	go func() {
		err := init.Wait()
		content, _ := os.ReadFile(log.Name()) // the end's reason, if it told one
		ended <- errors.Join(err, errors.New(strings.TrimSpace(string(content))))
	}()
	ready, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.outer.WaitReady(ready, ended); err != nil {
		return err
	}
	return setUpBridge(ctx, c.outer)
}

// startProgram starts a program in the outer box.
func (c *Cluster) startProgram(ctx context.Context, name string, argv ...string) error {
	_, err := c.outer.Start(ctx, box.Program{Name: name, Argv: argv, Log: c.run.path("logs", name+".log")})
	return err
}

// startControlPlane starts etcd and Kubernetes' own programs.
func (c *Cluster) startControlPlane(ctx context.Context) error {
	if err := c.run.writeAuditPolicy(); err != nil {
		return err
	}
	pki := func(file string) string { return c.run.path("pki", file) }
	const etcd = "http://127.0.0.1:2379"
	programs := [][]string{
		{
			"etcd", "--data-dir=" + c.run.path("etcd"), "--listen-client-urls=" + etcd, "--advertise-client-urls=" + etcd,
			"--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level=warn",
		},
		{
			"kube-apiserver", "--etcd-servers=" + etcd, "--advertise-address=" + hostAddress, "--secure-port=" + apiserverPort,
			"--client-ca-file=" + pki("ca.crt"), "--tls-cert-file=" + pki("apiserver.crt"), "--tls-private-key-file=" + pki("apiserver.key"),
			"--cert-dir=" + c.run.path("pki"),
			"--kubelet-client-certificate=" + pki("apiserver-kubelet.crt"), "--kubelet-client-key=" + pki("apiserver-kubelet.key"),
			"--kubelet-preferred-address-types=InternalIP,ExternalIP",
			"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + pki("service-account.crt"),
			"--service-account-signing-key-file=" + pki("service-account.key"), "--service-cluster-ip-range=" + serviceRange,
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
			"--feature-gates=" + volumeHealth + "=true",
			// One file: a run is over before it is large.
			"--audit-policy-file=" + c.run.path(auditPolicy), "--audit-log-path=" + c.AuditLog(), "--audit-log-maxsize=0",
		},
		{
			"kube-controller-manager", "--kubeconfig=" + pki("kube-controller-manager.kubeconfig"),
			"--service-account-private-key-file=" + pki("service-account.key"), "--root-ca-file=" + pki("ca.crt"),
			"--use-service-account-credentials", "--leader-elect=false", "--bind-address=127.0.0.1", "--cert-dir=" + c.run.path("kcm"),
		},
		{
			"kube-scheduler", "--kubeconfig=" + pki("kube-scheduler.kubeconfig"), "--leader-elect=false",
			"--bind-address=127.0.0.1", "--cert-dir=" + c.run.path("scheduler"),
		},
	}
	for _, argv := range programs {
		if err := c.startProgram(ctx, argv[0], append([]string{c.config.program(argv[0])}, argv[1:]...)...); err != nil {
			return err
		}
		if argv[0] == "kube-apiserver" {
			if err := c.waitAPI(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// waitAPI waits until the apiserver calls itself ready.
func (c *Cluster) waitAPI(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.Rest())
	if err != nil {
		return err
	}
	c.Kubernetes = client
	return c.Eventually(ctx, "the apiserver is ready", time.Minute, func(ctx context.Context) error {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	})
}
