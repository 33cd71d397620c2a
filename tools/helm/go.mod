// Helm is alone in this module, so that its requirements, which are Kubernetes'
// client and more, change no other tool's.
module github.com/cloud-provider-vultr/cloud-provider-vultr/tools/helm

go 1.26.0

tool helm.sh/helm/v4/cmd/helm

require helm.sh/helm/v4 v4.3.1 // indirect
