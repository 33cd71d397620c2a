package lb

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// newService creates a Service in an API server of its own.
func newService(t *testing.T, finalizers ...string) (typedv1.ServiceInterface, *v1.Service) {
	t.Helper()
	services := newKube().client(directly).CoreV1().Services(namespace)
	s, err := services.Create(t.Context(), &v1.Service{ObjectMeta: metav1.ObjectMeta{Name: web, Finalizers: finalizers}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return services, s
}

// TestVersions: a write that knows another state of an object is refused, as an API server does and client-go's fake one does not.
func TestVersions(t *testing.T) {
	t.Parallel()
	services, first := newService(t)
	if first.UID == "" || first.ResourceVersion == "" || first.CreationTimestamp.IsZero() {
		t.Errorf("created was %+v", first.ObjectMeta)
	}
	patch := func(text string) (*v1.Service, error) {
		return services.Patch(t.Context(), web, types.MergePatchType, []byte(text), metav1.PatchOptions{}, "status")
	}
	second, err := patch(`{"metadata":{"annotations":{"a":"b"}}}`)
	if err != nil || second.ResourceVersion == first.ResourceVersion || second.Annotations["a"] != "b" {
		t.Errorf("patched is %+v, error %v", second, err)
	}
	for name, text := range map[string]string{
		"an older version": `{"metadata":{"resourceVersion":"` + first.ResourceVersion + `"}}`,
		"another UID":      `{"metadata":{"uid":"another"}}`,
	} {
		if _, err := patch(text); !apierrors.IsConflict(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := services.Update(t.Context(), first, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("update of an older version: %v", err)
	}
	if _, err := patch(`{"metadata":{"uid":"` + string(first.UID) + `","resourceVersion":"` + second.ResourceVersion + `"}}`); err != nil {
		t.Errorf("a patch of what there is: %v", err)
	}
	if err := services.Delete(t.Context(), web, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := services.Get(t.Context(), web, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after its deletion: %v", err)
	}
}

// TestFinalizers: what has finalizers is deleted when it has none any more.
func TestFinalizers(t *testing.T) {
	t.Parallel()
	services, _ := newService(t, "example.com/one", "example.com/two")
	for range 2 { // deleting is idempotent
		if err := services.Delete(t.Context(), web, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for i, text := range []string{`{"metadata":{"finalizers":["example.com/two"]}}`, `{"metadata":{"finalizers":[]}}`} {
		s, err := services.Get(t.Context(), web, metav1.GetOptions{})
		if err != nil || s.DeletionTimestamp == nil {
			t.Fatalf("with %d finalizers: %+v, error %v", 2-i, s, err)
		}
		if _, err := services.Patch(t.Context(), web, types.MergePatchType, []byte(text), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := services.Get(t.Context(), web, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("without finalizers: %v", err)
	}
}
