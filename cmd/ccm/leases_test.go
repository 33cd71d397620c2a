package main

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
)

const leasePath = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"

func (s *apiServer) getLease(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lease := s.leases[r.PathValue("name")]
	if lease == nil {
		notFound(w)
		return
	}
	answer(w, http.StatusOK, lease)
}

// putLease makes or changes a lease, unless it was changed since whoever asks has read it.
func (s *apiServer) putLease(w http.ResponseWriter, r *http.Request) {
	lease := &coordinationv1.Lease{}
	if err := decode(r, lease); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.leases[lease.Name]
	switch {
	case known == nil && r.Method == http.MethodPut:
		notFound(w)
		return
	case known != nil && known.ResourceVersion != lease.ResourceVersion:
		answer(w, http.StatusConflict, &metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonConflict, Code: http.StatusConflict})
		return
	}
	s.version++
	lease.ResourceVersion = strconv.Itoa(s.version)
	lease.Kind, lease.APIVersion = "Lease", "coordination.k8s.io/v1"
	s.leases[lease.Name] = lease
	answer(w, http.StatusOK, lease)
}

func (s *apiServer) event(w http.ResponseWriter, r *http.Request) {
	event := &v1.Event{}
	if err := decode(r, event); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	event.Kind, event.APIVersion = "Event", "v1"
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, event)
	answer(w, http.StatusCreated, event)
}

func notFound(w http.ResponseWriter) {
	answer(w, http.StatusNotFound, &metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound})
}

// decode reads an object, which comes as JSON or as protobuf.
func decode[T any](r *http.Request, into *T) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	object, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		return err
	}
	typed, ok := any(object).(*T)
	if !ok {
		return errors.New("it is of another kind")
	}
	*into = *typed
	return nil
}

// holder returns who holds the lease of the cloud controller managers, and how often it changed hands.
func (s *apiServer) holder() (name string, transitions int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lease := s.leases["cloud-controller-manager"]
	if lease == nil {
		return "", 0
	}
	if lease.Spec.HolderIdentity != nil {
		name = *lease.Spec.HolderIdentity
	}
	if lease.Spec.LeaseTransitions != nil {
		transitions = *lease.Spec.LeaseTransitions
	}
	return name, transitions
}

// told returns the messages of the Events with this reason.
func (s *apiServer) told(reason string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, event := range s.events {
		if event.Reason == reason {
			all = append(all, event.InvolvedObject.Kind+" "+event.InvolvedObject.Name+": "+event.Message)
		}
	}
	return all
}
