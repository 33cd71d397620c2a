package main

import (
	"fmt"

	"k8s.io/cloud-provider/app"
	cloudconfig "k8s.io/cloud-provider/config"
	"k8s.io/cloud-provider/config/v1alpha1"
	"k8s.io/component-base/configz"
)

// showConfig replaces what the library shows at /configz. It has been told to do without a leader election, because this
// process takes part in one in its place, and would show that.
func showConfig(component *cloudconfig.CloudControllerManagerConfiguration) error {
	shown := &v1alpha1.CloudControllerManagerConfiguration{}
	if err := v1alpha1.Convert_config_CloudControllerManagerConfiguration_To_v1alpha1_CloudControllerManagerConfiguration(component, shown, nil); err != nil {
		return fmt.Errorf("converting the configuration: %w", err)
	}
	shown.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("CloudControllerManagerConfiguration"))
	configz.Delete(app.ConfigzName) // one that is there can't be changed
	entry, err := configz.New(app.ConfigzName)
	if err != nil {
		return fmt.Errorf("registering the configuration: %w", err)
	}
	if err := entry.Set(shown); err != nil {
		return fmt.Errorf("registering the configuration: %w", err)
	}
	return nil
}
