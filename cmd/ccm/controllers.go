package main

import (
	"context"
	"errors"
	"fmt"
	"maps"

	cloudprovider "k8s.io/cloud-provider"
	"k8s.io/cloud-provider/app"
	"k8s.io/cloud-provider/app/config"
	"k8s.io/cloud-provider/names"
	genericapp "k8s.io/controller-manager/app"
	"k8s.io/controller-manager/controller"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/recovery"
)

// controllers are the library's, with ours in place of the one for Services, and the one for fast recovery.
// The library runs them in the process that leads only.
func controllers() map[string]app.ControllerInitFuncConstructor {
	all := maps.Clone(app.DefaultInitFuncConstructors)
	services := all[names.ServiceLBController]
	services.Constructor = newServiceController
	all[names.ServiceLBController] = services
	all[recovery.Name] = app.ControllerInitFuncConstructor{
		InitContext: app.ControllerInitContext{ClientName: recovery.Name},
		Constructor: newRecoveryController,
	}
	return all
}

func newServiceController(_ app.ControllerInitContext, cfg *config.CompletedConfig, provider cloudprovider.Interface) app.InitFunc {
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
		go services.Run(klog.NewContext(ctx, klog.FromContext(ctx).WithName(names.ServiceLBController)), workers)
		return nil, true, nil
	}
}

func newRecoveryController(_ app.ControllerInitContext, _ *config.CompletedConfig, provider cloudprovider.Interface) app.InitFunc {
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
		go fast.Run(klog.NewContext(ctx, klog.FromContext(ctx).WithName(recovery.Name)))
		return nil, true, nil
	}
}
