package vultr_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"k8s.io/klog/v2/ktesting"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// These tests run the client against the simulated cloud: what both believe about the API must agree. Reads lag behind
// writes there, as on the platform, so what was written is awaited before it is compared.

func start(t *testing.T, opts simtest.Options, change ...func(*vultr.Config)) (*simtest.Cloud, *vultr.Client) {
	t.Helper()
	cloud := simtest.Start(t, opts)
	cfg := vultr.Config{
		BaseURL: cloud.URL, Key: cloud.Key, StartRate: 1000, MaxRate: 1000,
		TimeScale: simtest.FastTimeScale, SettleTime: 5 * time.Second,
	}
	for _, f := range change {
		f(&cfg)
	}
	client, err := vultr.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return cloud, client
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	_, ctx := ktesting.NewTestContext(t)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// awaited reads until an object is as it was wished, and returns it.
func awaited[T any](ctx context.Context, t *testing.T, cloud *simtest.Cloud, read func(ctx context.Context, id string) (T, error), id string, is func(T) bool) T {
	t.Helper()
	var got T
	cloud.Await("what was written", func() bool {
		var err error
		got, err = read(ctx, id)
		if err != nil && !vultr.IsNotFound(err) {
			t.Fatal(err)
		}
		return err == nil && is(got)
	})
	return got
}

// awaitGone reads until an object that was deleted is not found. A read that lags still finds it.
func awaitGone[T any](ctx context.Context, t *testing.T, cloud *simtest.Cloud, read func(ctx context.Context, id string) (T, error), id string) {
	t.Helper()
	cloud.Await("the delete", func() bool {
		_, err := read(ctx, id)
		if err != nil && !vultr.IsNotFound(err) {
			t.Fatal(err)
		}
		return err != nil
	})
}

func active(v vultr.Volume) (bool, error) { return v.Active(), nil }

func on(instance string) func(vultr.Volume) (bool, error) {
	return func(v vultr.Volume) (bool, error) { return v.AttachedTo == instance, nil }
}

func create(ctx context.Context, t *testing.T, c *vultr.Client, label string) vultr.Volume {
	t.Helper()
	v, err := c.CreateVolume(ctx, vultr.VolumeRequest{Label: label, Region: "ewr", SizeGB: 10, Type: vultr.HighPerf})
	if err != nil {
		t.Fatal(err)
	}
	v, err = c.WaitVolume(ctx, "create", v.ID, active)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestContractLifeOfAVolume(t *testing.T) {
	cloud, c := start(t, simtest.Options{})
	ctx := testContext(t)
	instance := cloud.AddInstance(simulator.NewServer{Label: "w1"})

	v := create(ctx, t, c, "pvc-1")
	if v.Label != "pvc-1" || v.Region != "ewr" || v.SizeGB != 10 || v.Type != vultr.HighPerf || v.SnapshotID != "" ||
		v.AttachedTo != "" || v.MountID == "" || v.Created.IsZero() {
		t.Errorf("got %+v", v)
	}
	if err := c.DetachVolume(ctx, v.ID); !vultr.IsNotAttached(err) {
		t.Errorf("detach of a detached volume: %v", err)
	}
	if err := c.AttachVolume(ctx, v.ID, instance); err != nil {
		t.Fatal(err)
	}
	if got, err := c.WaitVolume(ctx, "attach", v.ID, on(instance)); err != nil || got.MountID != v.MountID {
		t.Fatalf("got %+v, %v", got, err)
	}
	if err := c.AttachVolume(ctx, v.ID, instance); !vultr.IsAlreadyAttached(err) && !vultr.IsNothingToChange(err) {
		t.Errorf("a second attach: %v", err)
	}
	if err := c.DeleteVolume(ctx, v.ID); err == nil || vultr.IsNotFound(err) {
		t.Errorf("delete of an attached volume: %v", err)
	}
	for range 2 { // the second time there is nothing to change
		if err := c.ResizeVolume(ctx, v.ID, 20); err != nil {
			t.Fatal(err)
		}
		awaited(ctx, t, cloud, c.Volume, v.ID, func(v vultr.Volume) bool { return v.SizeGB == 20 })
	}
	if err := c.DetachVolume(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WaitVolume(ctx, "detach", v.ID, on("")); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteVolume(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	awaitGone(ctx, t, cloud, c.Volume, v.ID)
	if err := c.DeleteVolume(ctx, v.ID); !vultr.IsNotFound(err) {
		t.Errorf("a second delete: %v", err)
	}
	for _, i := range cloud.Sim.View().Instances {
		if i.Reboots != 0 {
			t.Errorf("the instance was restarted %d times", i.Reboots)
		}
	}
}

func TestContractLostAnswers(t *testing.T) {
	cloud, c := start(t, simtest.Options{})
	ctx := testContext(t)
	instance := cloud.AddInstance(simulator.NewServer{Label: "w1"})
	lose := func(operation string) {
		cloud.Fault(simulator.Fault{Operation: operation, Action: simulator.FaultResetAfter, Times: 1})
	}

	lose("create_block")
	_, err := c.CreateVolume(ctx, vultr.VolumeRequest{Label: "pvc-1", Region: "ewr", SizeGB: 10, Type: vultr.HighPerf})
	if !vultr.IsOutcomeUnknown(err) {
		t.Fatalf("got %v", err)
	}
	v := find(ctx, t, c, "pvc-1")
	if _, err := c.WaitVolume(ctx, "create", v.ID, active); err != nil {
		t.Fatal(err)
	}

	lose("attach_block")
	if err := c.AttachVolume(ctx, v.ID, instance); !vultr.IsOutcomeUnknown(err) {
		t.Fatalf("got %v", err)
	}
	if _, err := c.WaitVolume(ctx, "attach", v.ID, on(instance)); err != nil {
		t.Fatal(err)
	}

	lose("update_block")
	if err := c.ResizeVolume(ctx, v.ID, 20); err != nil {
		t.Errorf("a resize that lost its answer: %v", err)
	}

	lose("detach_block")
	if err := c.DetachVolume(ctx, v.ID); !vultr.IsOutcomeUnknown(err) {
		t.Fatalf("got %v", err)
	}
	if _, err := c.WaitVolume(ctx, "detach", v.ID, on("")); err != nil {
		t.Fatal(err)
	}

	lose("delete_block")
	if err := c.DeleteVolume(ctx, v.ID); !vultr.IsNotFound(err) || !vultr.IsOutcomeUnknown(err) {
		t.Errorf("a delete that lost its answer: %v", err)
	}
	awaitGone(ctx, t, cloud, c.Volume, v.ID)
	// The log names a request a moment after its answer, so only too many mean something.
	if n := cloud.Count("create_block"); n > 1 {
		t.Errorf("%d creates", n)
	}
	if list, err := c.Volumes(ctx, 0); err != nil || len(list.Items) != 0 {
		t.Errorf("left over: %+v, %v", list.Items, err)
	}
}

// find looks for a label until a list shows it.
func find(ctx context.Context, t *testing.T, c *vultr.Client, label string) vultr.Volume {
	t.Helper()
	for {
		list, err := c.Volumes(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range list.Items {
			if v.Label == label {
				return v
			}
		}
	}
}

func TestContractManyVolumesShareTheirLists(t *testing.T) {
	cloud, c := start(t, simtest.Options{})
	ctx := testContext(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			v, err := c.CreateVolume(ctx, vultr.VolumeRequest{
				Label: fmt.Sprintf("pvc-%d", i), Region: "ewr", SizeGB: 10, Type: vultr.HighPerf,
			})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := c.WaitVolume(ctx, "create", v.ID, active); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if lists := cloud.Count("list_blocks"); lists > 25 {
		t.Errorf("50 waits cost %d lists", lists)
	}
}

func TestContractRateLimit(t *testing.T) {
	cloud, c := start(t, simtest.Options{Config: simulator.Config{RateLimit: 30}}, func(cfg *vultr.Config) {
		cfg.StartRate, cfg.MaxRate = 200, 200
	})
	ctx := testContext(t)
	var wg sync.WaitGroup
	for range 60 {
		wg.Go(func() {
			if _, err := c.Account(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	refused := 0
	for _, r := range cloud.Requests() {
		if r.Status == 429 {
			refused++
		}
	}
	t.Logf("%d of %d were refused", refused, len(cloud.Requests()))
	if refused == 0 {
		t.Error("the limit was never met: the test shows nothing")
	}
}

func TestContractServers(t *testing.T) {
	cloud, c := start(t, simtest.Options{})
	ctx := testContext(t)
	vm := cloud.AddInstance(simulator.NewServer{Label: "w1", Region: "ewr", Tags: []string{"k8s"}})
	metal := cloud.AddBareMetal(simulator.NewServer{Label: "m1", Region: "ewr"})

	got, err := c.Instance(ctx, vm)
	if err != nil || got.Kind != vultr.KindVM || got.Label != "w1" || got.MainIP == "" || got.ServerStatus != "ok" || !slices.Equal(got.Tags, []string{"k8s"}) {
		t.Errorf("got %+v, %v", got, err)
	}
	got, err = c.Instance(ctx, metal)
	if err != nil || got.Kind != vultr.KindBareMetal || got.MainIP == "" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := c.Instance(ctx, "00000000-0000-4000-8000-000000000000"); !vultr.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
	list, err := c.Instances(ctx, 0)
	if err != nil || len(list.Items) != 2 {
		t.Errorf("got %+v, %v", list, err)
	}
	md, err := vultr.NewMetadata(cloud.MetadataURL(vm)).Get(ctx)
	if err != nil || md.InstanceID != vm || md.Region != "ewr" || md.Hostname != "w1" || md.PublicIP == "" {
		t.Errorf("got %+v, %v", md, err)
	}
}

func TestContractAccountAndRegions(t *testing.T) {
	cloud, c := start(t, simtest.Options{})
	ctx := testContext(t)
	if _, err := c.Account(ctx); err != nil {
		t.Error(err)
	}
	regions, err := c.Regions(ctx)
	if err != nil || !slices.ContainsFunc(regions, func(r vultr.Region) bool {
		return r.ID == "ewr" && r.Sells("block_storage_high_perf") && r.Sells("load_balancers")
	}) {
		t.Errorf("got %+v, %v", regions, err)
	}
	wrong, err := vultr.New(vultr.Config{BaseURL: cloud.URL, Key: "WRONGKEY"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wrong.Account(ctx); !vultr.IsUnauthorized(err) {
		t.Errorf("a wrong key: %v", err)
	}
}

func TestContractLoadBalancer(t *testing.T) {
	cloud, c := start(t, simtest.Options{})
	ctx := testContext(t)
	vm := cloud.AddInstance(simulator.NewServer{Label: "w1", Region: "ewr"})
	label, nodes, cookie, redirect := "a1", 1, "sticky", false
	rules := []vultr.ForwardingRule{
		{FrontendProtocol: "http", FrontendPort: 80, BackendProtocol: "http", BackendPort: 31080},
		{FrontendProtocol: "udp", FrontendPort: 53, BackendProtocol: "udp", BackendPort: 31053},
	}
	firewall := []vultr.FirewallRule{{Port: 80, Source: "10.0.0.0/8", IPType: "v4"}}
	lb, err := c.CreateLoadBalancer(ctx, "ewr", vultr.LoadBalancerSettings{
		Label: &label, Nodes: &nodes, StickyCookie: &cookie, SSLRedirect: &redirect, Rules: &rules, Firewall: &firewall,
		Instances: &[]string{vm},
		HealthCheck: &vultr.HealthCheck{
			Protocol: "tcp", Port: 31080, CheckInterval: 15, ResponseTimeout: 5, UnhealthyThreshold: 5, HealthyThreshold: 5,
		},
	})
	if err != nil || lb.Label != "a1" || lb.Active() {
		t.Fatalf("got %+v, %v", lb, err)
	}
	if err := c.DeleteLoadBalancer(ctx, lb.ID); !vultr.IsNotReady(err) {
		t.Errorf("delete while pending: %v", err)
	}
	lb = settled(ctx, t, cloud, c, lb.ID)
	if !sameRules(lb.Rules, rules) || !slices.Equal(lb.Firewall, firewall) || !slices.Equal(lb.Instances, []string{vm}) ||
		lb.StickyCookie != cookie || lb.HealthCheck.Port != 31080 || lb.Nodes != 1 || lb.Region != "ewr" {
		t.Errorf("got %+v", lb)
	}

	empty, noInstances, noFirewall := "", []string{}, []vultr.FirewallRule{}
	one := rules[:1]
	err = c.UpdateLoadBalancer(ctx, lb.ID, vultr.LoadBalancerSettings{
		Instances: &noInstances, Firewall: &noFirewall, Rules: &one, StickyCookie: &empty,
	})
	if err != nil {
		t.Fatal(err)
	}
	lb = settled(ctx, t, cloud, c, lb.ID)
	if len(lb.Instances) != 0 || len(lb.Firewall) != 0 || lb.StickyCookie != "" || !sameRules(lb.Rules, one) || lb.Label != "a1" || lb.HealthCheck.Port != 31080 {
		t.Errorf("after everything was taken away: %+v", lb)
	}
	list, err := c.LoadBalancers(ctx, 0)
	if err != nil || len(list.Items) > 1 {
		t.Errorf("got %+v, %v", list, err)
	}
	if err := c.DeleteLoadBalancer(ctx, lb.ID); err != nil {
		t.Fatal(err)
	}
	awaitGone(ctx, t, cloud, c.LoadBalancer, lb.ID)
}

// settled waits until the load balancer is active and takes an update that changes nothing, and returns it as it is then.
func settled(ctx context.Context, t *testing.T, cloud *simtest.Cloud, c *vultr.Client, id string) vultr.LoadBalancer {
	t.Helper()
	awaited(ctx, t, cloud, c.LoadBalancer, id, func(lb vultr.LoadBalancer) bool { return lb.Active() && lb.IPv4 != "" })
	cloud.Await("an update to be taken", func() bool {
		err := c.UpdateLoadBalancer(ctx, id, vultr.LoadBalancerSettings{})
		if err != nil && !vultr.IsNotReady(err) && !vultr.IsNothingToChange(err) {
			t.Fatal(err)
		}
		return !vultr.IsNotReady(err)
	})
	cloud.AwaitReads()
	lb, err := c.LoadBalancer(ctx, id)
	return must(t, lb, err)
}

func sameRules(a, b []vultr.ForwardingRule) bool {
	byPort := func(x, y vultr.ForwardingRule) int { return x.FrontendPort - y.FrontendPort }
	return slices.Equal(slices.SortedFunc(slices.Values(a), byPort), slices.SortedFunc(slices.Values(b), byPort))
}

func TestContractManyPages(t *testing.T) {
	cloud, c := start(t, simtest.Options{})
	for i := range 1203 {
		cloud.AddInstance(simulator.NewServer{Label: fmt.Sprintf("w%d", i), MainIP: "198.51.100.1"})
	}
	list, err := c.Instances(testContext(t), 0)
	seen := map[string]bool{}
	for _, i := range list.Items {
		seen[i.ID] = true
	}
	if err != nil || len(seen) != 1203 || cloud.Count("list_instances") > 3 {
		t.Errorf("%d instances by %d calls, %v", len(seen), cloud.Count("list_instances"), err)
	}
}

func TestContractCancelledInAHeldCreate(t *testing.T) {
	cloud, c := start(t, simtest.Options{})
	hold := cloud.Hold("create_block", simulator.FaultHoldBefore)
	ctx, cancel := context.WithCancel(testContext(t))
	failed := make(chan error)
	go func() {
		_, err := c.CreateVolume(ctx, vultr.VolumeRequest{Label: "pvc-1", Region: "ewr", SizeGB: 10, Type: vultr.HighPerf})
		failed <- err
	}()
	hold.Wait()
	cancel()
	if err := <-failed; !vultr.IsOutcomeUnknown(err) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	hold.Release()
}
