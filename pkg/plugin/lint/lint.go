// Package lint says what the cloud controller manager and the CSI driver would say about objects, before anybody applies
// them: it reads them by the very code of the two.
package lint

import (
	"cmp"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/manifest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
)

// The names of the checks in findings.
const (
	checkObject     = "object"
	checkService    = "service"
	checkAnnotation = "annotation"
	checkClass      = "storage-class"
	checkClaim      = "claim"
	checkVolume     = "volume"
)

// Where is an object of a file or of a cluster.
type Where struct {
	// Object names it: "Service shop/web".
	Object string
	// File is "" for one of a cluster.
	File string
	// Line returns the line of a part of the object; nil for one of a cluster.
	Line func(path ...string) int
}

// InFile returns where an object of a file is.
func InFile(o manifest.Object) Where { return Where{Object: o.String(), File: o.File, Line: o.LineOf} }

// InCluster returns where an object of a cluster is.
func InCluster(kind, namespace, name string) Where {
	return Where{Object: manifest.Object{Kind: kind, Namespace: namespace, Name: name}.String()}
}

// finding makes one about a part of the object, which is named by its path.
func (w Where) finding(severity report.Severity, check, key, problem, remedy string, path ...string) report.Finding {
	f := report.Finding{Severity: severity, Check: check, Object: w.Object, File: w.File, Key: key, Problem: problem, Remedy: remedy}
	if w.Line != nil {
		f.Line = w.Line(path...)
	}
	return f
}

// Context is what the objects are judged with.
type Context struct {
	// Defaults are the cluster's values for what Services do not say.
	Defaults settings.Defaults
	// KubeProxyPort is where kube-proxy answers on the cluster's nodes, 0 for its usual port.
	KubeProxyPort int
	// Named returns what the objects say that a Service names, as options for reading it. Nothing is said about what it does not
	// give; nil gives nothing.
	Named func(service *v1.Service) []plan.Option
	// Classes are the StorageClasses that claims may name.
	Classes []storagev1.StorageClass
}

// reading reads a Service as the controller would.
func (c Context) reading(service *v1.Service) plan.Reading {
	options := []plan.Option{plan.WithUnreadReferences(), plan.WithDefaults(c.Defaults), plan.WithKubeProxyPort(c.KubeProxyPort)}
	if c.Named != nil {
		options = append(options, c.Named(service)...)
	}
	return plan.Read(service, options...)
}

// class returns the class of a claim: the one that it names, or else the cluster's default. nil is one that is not known.
func (c Context) class(name *string) *storagev1.StorageClass {
	for i := range c.Classes {
		class := &c.Classes[i]
		if name != nil && class.Name == *name || name == nil && isDefault(class) {
			return class
		}
	}
	return nil
}

func isDefault(class *storagev1.StorageClass) bool {
	const standard, old = "storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"
	return class.Annotations[standard] == "true" || class.Annotations[old] == "true"
}

// decoder knows the kinds of Kubernetes, and reports fields that they do not have.
var decoder = serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()

// Files judges the objects of files. The claims among them may name the StorageClasses among them, which count more than
// those of the context, and the Services the ConfigMaps and Secrets among them.
func Files(objects []manifest.Object, c Context) []report.Finding {
	if c.Named == nil {
		c.Named = namedIn(objects)
	}
	var findings []report.Finding
	decoded := make([]runtime.Object, len(objects))
	for i, o := range objects {
		if !slices.Contains(kinds, o.Kind) {
			continue // none of our business
		}
		object, _, err := decoder.Decode(o.JSON, nil, nil)
		if err != nil {
			findings = append(findings, undecodable(InFile(o), err))
		}
		decoded[i] = object
		if class, ok := object.(*storagev1.StorageClass); ok && class != nil {
			c.Classes = append([]storagev1.StorageClass{*class}, c.Classes...)
		}
	}
	for i, object := range decoded {
		if object != nil {
			findings = append(findings, judge(InFile(objects[i]), object, c)...)
		}
	}
	Sort(findings)
	return findings
}

// kinds are those that are judged.
var kinds = []string{"Service", "Namespace", "StorageClass", "PersistentVolumeClaim", "PersistentVolume"}

func undecodable(where Where, err error) report.Finding {
	if runtime.IsStrictDecodingError(err) {
		return where.finding(report.Error, checkObject, "", err.Error(), "correct the name of the field: what it asks for would not come about")
	}
	return where.finding(report.Error, checkObject, "", err.Error(),
		"correct the object; the values of annotations and parameters are texts, so numbers, true, on and the like have to be quoted")
}

func judge(where Where, object runtime.Object, c Context) []report.Finding {
	switch object := object.(type) {
	case *v1.Service:
		return Service(where, offline(object), c)
	case *v1.Namespace:
		return Namespace(where, object)
	case *storagev1.StorageClass:
		return StorageClass(where, object)
	case *v1.PersistentVolumeClaim:
		return Claim(where, object, c)
	case *v1.PersistentVolume:
		return Volume(where, object)
	}
	return nil
}

// Sort orders findings by where they are, as a reader of the files meets them.
func Sort(findings []report.Finding) {
	slices.SortStableFunc(findings, func(a, b report.Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Key, b.Key))
	})
}

// reference is where users find what an annotation can be.
func reference(page string) string { return fmt.Sprintf("see docs/%s", page) }
