package main

import (
	"context"
	"errors"
	"fmt"
	"maps"

	utilfeature "k8s.io/apiserver/pkg/util/feature"
	cloudprovider "k8s.io/cloud-provider"
	"k8s.io/cloud-provider/app"
	"k8s.io/cloud-provider/app/config"
	servicecontroller "k8s.io/cloud-provider/controllers/service"
	"k8s.io/cloud-provider/names"
	genericapp "k8s.io/controller-manager/app"
	"k8s.io/controller-manager/controller"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/quiet"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/recovery"
)

// controllers are the library's, the one for Services with a client that keeps waiting out of the Events, and ours.
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

func newServiceController(init app.ControllerInitContext, cfg *config.CompletedConfig, provider cloudprovider.Interface) app.InitFunc {
	return func(ctx context.Context, manager genericapp.ControllerContext) (controller.Interface, bool, error) {
		services, err := servicecontroller.New(
			provider,
			quiet.Client(cfg.ClientBuilder.ClientOrDie(init.ClientName)),
			cfg.SharedInformers.Core().V1().Services(),
			cfg.SharedInformers.Core().V1().Nodes(),
			cfg.ComponentConfig.KubeCloudShared.ClusterName,
			utilfeature.DefaultFeatureGate,
		)
		if err != nil {
			return nil, false, fmt.Errorf("starting the controller for Services: %w", err)
		}
		go services.Run(ctx, int(cfg.ComponentConfig.ServiceController.ConcurrentServiceSyncs), manager.ControllerManagerMetrics)
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
