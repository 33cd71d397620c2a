package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"

	cloudprovider "k8s.io/cloud-provider"
	"k8s.io/cloud-provider/app"
	"k8s.io/cloud-provider/app/config"
	"k8s.io/cloud-provider/names"
	genericapp "k8s.io/controller-manager/app"
	"k8s.io/controller-manager/controller"
	"k8s.io/controller-manager/pkg/healthz"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/recovery"
)

// controllers are the library's, with ours in place of the one for Services, and the one for fast recovery.
// They run in the process that leads only.
func (p *process) controllers() map[string]app.ControllerInitFuncConstructor {
	all := maps.Clone(app.DefaultInitFuncConstructors)
	services := all[names.ServiceLBController]
	services.Constructor = p.newServiceController
	all[names.ServiceLBController] = services
	all[recovery.Name] = app.ControllerInitFuncConstructor{
		InitContext: app.ControllerInitContext{ClientName: recovery.Name},
		Constructor: p.newRecoveryController,
	}
	return all
}

func (p *process) newServiceController(_ app.ControllerInitContext, cfg *config.CompletedConfig, provider cloudprovider.Interface) app.InitFunc {
	return func(ctx context.Context, _ genericapp.ControllerContext) (controller.Interface, bool, error) {
		ours, ok := provider.(*cloud.Provider)
		if !ok {
			return nil, false, errors.New("the controller for Services needs the Vultr cloud provider")
		}
		services, err := ours.LoadBalancers()
		if err != nil {
			return nil, false, fmt.Errorf("starting the controller for Services: %w", err)
		}
		workers := int(cfg.ComponentConfig.ServiceController.ConcurrentServiceSyncs)
		ctx = klog.NewContext(ctx, klog.FromContext(ctx).WithName(names.ServiceLBController))
		p.work.Go(func() { services.Run(ctx, workers) })
		p.check(services.Ready)
		return checked{names.ServiceLBController, p.healthy}, true, nil
	}
}

func (p *process) newRecoveryController(_ app.ControllerInitContext, _ *config.CompletedConfig, provider cloudprovider.Interface) app.InitFunc {
	return func(ctx context.Context, _ genericapp.ControllerContext) (controller.Interface, bool, error) {
		ours, ok := provider.(*cloud.Provider)
		if !ok {
			return nil, false, errors.New("fast node recovery needs the Vultr cloud provider")
		}
		fast := ours.Recovery()
		if fast == nil {
			klog.FromContext(ctx).Info("Fast node recovery is off")
			return nil, false, nil
		}
		ctx = klog.NewContext(ctx, klog.FromContext(ctx).WithName(recovery.Name))
		p.work.Go(func() { fast.Run(ctx) })
		return checked{recovery.Name, p.healthy}, true, nil
	}
}

// checked is a controller of which the library knows no more than how it is: its own check of the election is not there when
// it has none.
type checked struct {
	name string
	is   func() error
}

// Name is that of the controller.
func (c checked) Name() string { return c.name }

// HealthChecker is part of the library's /healthz.
func (c checked) HealthChecker() healthz.UnnamedHealthChecker { return c }

// Check returns an error if only a restart helps.
func (c checked) Check(*http.Request) error { return c.is() }
