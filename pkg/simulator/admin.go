package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/guard"
)

// AdminHandler serves the operator's JSON, which is not part of the platform and must only be reachable by the operator:
//
//	GET    /state                  the View
//	GET    /requests?n=100         the last requests, oldest first
//	DELETE /requests               forget them and their counters
//	GET    /counters               counts by operation, failed attempts included
//	GET    /faults                 the faults in force
//	POST   /faults                 add one, or a list of them; answers them with their IDs
//	GET    /faults/{id}            one fault
//	DELETE /faults                 remove all; DELETE /faults/{id} one
//	POST   /faults/{id}/release    release what it holds
//	POST   /instances              add an instance at once (NewServer); POST /bare-metals a bare metal server
//	PUT    /rate-limit?rps=30      change the rate limit, 0 = off
//	GET    /read-lags              how far reads are behind (ReadLags); PUT replaces them
func (s *Simulator) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) { writeAdmin(w, http.StatusOK, s.View()) })
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.URL.Query().Get("n"))
		if err != nil {
			n = 0
		}
		writeAdmin(w, http.StatusOK, s.Requests(n))
	})
	mux.HandleFunc("DELETE /requests", func(w http.ResponseWriter, _ *http.Request) {
		s.ResetRequests()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /counters", func(w http.ResponseWriter, _ *http.Request) { writeAdmin(w, http.StatusOK, s.Counters()) })
	s.adminFaults(mux)
	mux.HandleFunc("GET /read-lags", func(w http.ResponseWriter, _ *http.Request) { writeAdmin(w, http.StatusOK, s.ReadLags()) })
	mux.HandleFunc("PUT /read-lags", func(w http.ResponseWriter, r *http.Request) {
		var lags ReadLags
		if !readAdmin(w, r, &lags) {
			return
		}
		if err := s.SetReadLags(lags); err != nil {
			adminError(w, http.StatusBadRequest, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /instances", func(w http.ResponseWriter, r *http.Request) { addServer(w, r, s.AddInstance) })
	mux.HandleFunc("POST /bare-metals", func(w http.ResponseWriter, r *http.Request) { addServer(w, r, s.AddBareMetal) })
	mux.HandleFunc("PUT /rate-limit", func(w http.ResponseWriter, r *http.Request) {
		rps, err := strconv.ParseFloat(r.URL.Query().Get("rps"), 64)
		if err != nil || !(rps >= 0 && rps <= MaxRateLimit) { // NaN too
			adminError(w, http.StatusBadRequest, fmt.Errorf("rps must be a number from 0 to %v", float64(MaxRateLimit)))
			return
		}
		s.SetRateLimit(rps)
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

func (s *Simulator) adminFaults(mux *http.ServeMux) {
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { writeAdmin(w, http.StatusOK, s.Faults()) })
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		var raw json.RawMessage
		if readAdmin(w, r, &raw) {
			s.adminAddFaults(w, raw)
		}
	})
	mux.HandleFunc("GET /faults/{id}", func(w http.ResponseWriter, r *http.Request) {
		f, _, ok := s.faults.Get(r.PathValue("id"))
		if !ok {
			adminError(w, http.StatusNotFound, errNoFault)
			return
		}
		writeAdmin(w, http.StatusOK, f)
	})
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /faults/{id}", func(w http.ResponseWriter, r *http.Request) { foundFault(w, s.RemoveFault(r.PathValue("id"))) })
	mux.HandleFunc("POST /faults/{id}/release", func(w http.ResponseWriter, r *http.Request) {
		foundFault(w, s.ReleaseFault(r.PathValue("id")))
	})
}

// adminAddFaults adds one fault, or all of a list or none, and answers in kind.
func (s *Simulator) adminAddFaults(w http.ResponseWriter, raw json.RawMessage) {
	one := !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("["))
	if one {
		raw = slices.Concat([]byte("["), raw, []byte("]"))
	}
	plan, err := ParseFaults(raw)
	if err == nil {
		err = s.AddFaults(plan)
	}
	if err != nil {
		adminError(w, http.StatusBadRequest, err)
		return
	}
	for i := range plan {
		if added, _, ok := s.faults.Get(plan[i].ID); ok {
			plan[i] = added
		}
	}
	if one {
		writeAdmin(w, http.StatusCreated, plan[0])
		return
	}
	writeAdmin(w, http.StatusCreated, plan)
}

var errNoFault = errors.New("there is no such fault")

func foundFault(w http.ResponseWriter, found bool) {
	if !found {
		adminError(w, http.StatusNotFound, errNoFault)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func addServer(w http.ResponseWriter, r *http.Request, add func(NewServer) (string, error)) {
	var n NewServer
	if !readAdmin(w, r, &n) {
		return
	}
	id, err := add(n)
	if err != nil {
		adminError(w, http.StatusBadRequest, err)
		return
	}
	writeAdmin(w, http.StatusCreated, map[string]string{"id": id})
}

func readAdmin(w http.ResponseWriter, r *http.Request, v any) bool {
	done := guard.LimitBody(w)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, defaultMaxBody))
	if err == nil {
		done()
		err = json.Unmarshal(body, v)
	}
	if err != nil {
		adminError(w, http.StatusBadRequest, err)
		return false
	}
	return true
}

func adminError(w http.ResponseWriter, status int, err error) {
	writeAdmin(w, status, map[string]string{"error": err.Error()})
}

func writeAdmin(w http.ResponseWriter, status int, v any) {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	guard.LimitAnswer(w)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// Nothing is left to do for an operator who is gone.
	_, _ = w.Write(append(raw, '\n'))
}
