package simulator

import (
	"fmt"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
)

// Fill makes many settled records in one change each kind: a benchmark's cloud.
func (s *Simulator) Fill(blocks, instances, balancers int) error {
	return s.update(func(tx *store.Tx) error {
		var ids []string
		for n := range instances {
			i := instance{
				head: s.oldHead(), Label: fmt.Sprintf("worker-%d", n), Hostname: "worker", Region: "ewr", Plan: "vc2-2c-4gb", OSID: 2136,
				Tags: []string{"pool-a"}, MainIP: fmt.Sprintf("10.0.%d.%d", n/250, n%250), Status: statusActive, Power: powerRunning, Server: serverOK,
			}
			ids = append(ids, i.ID)
			s.instances.Put(tx, i.ID, i)
		}
		for n := range blocks {
			b := block{head: s.oldHead(), Label: fmt.Sprintf("pvc-%d", n), Region: "ewr", SizeGB: 10, Type: highPerf, Active: true}
			if n%2 == 0 && len(ids) > 0 {
				b.AttachedTo = ids[(n/2)%len(ids)]
			}
			s.blocks.Put(tx, b.ID, b)
		}
		for n := range balancers {
			l := loadBalancer{head: s.oldHead(), Region: "ewr", Active: true, Address: fmt.Sprintf("127.64.0.%d", n), AddressShown: true}
			l.Label, l.Nodes, l.Instances = fmt.Sprintf("lb-%d", n), 1, ids[:min(10, len(ids))]
			s.balancers.Put(tx, l.ID, l)
		}
		return nil
	})
}

// Relabel gives all volumes a label in one change.
func (s *Simulator) Relabel(label string) error {
	return s.update(func(tx *store.Tx) error {
		for id, b := range s.blocks.AllIn(tx) {
			b.Label = strings.Clone(label) // a string of its own each, as of requests
			s.blocks.Put(tx, id, b)
		}
		return nil
	})
}

// TurnOff takes a trait away from a simulator.
func (s *Simulator) TurnOff(trait string) { s.turnOff(quirk(trait)) }

// Route is one operation of the API, for tests.
type Route struct {
	Resource, Kind, Method, Path, Operation string
	Open                                    bool
}

// Routes are all operations, in the order of the documentation.
func Routes() []Route {
	var out []Route
	for _, res := range resources {
		for _, r := range res.routes {
			out = append(out, Route{res.name, res.kind, r.method, r.path, r.operation, r.open})
		}
	}
	return out
}

// LateReads are the traits of reads that lag: all kinds of objects, by GET and list.
func LateReads() []string {
	var names []string
	for _, kind := range ReadKinds() {
		names = append(names, string(quirkLateRead(kind, readGet)), string(quirkLateRead(kind, readList)))
	}
	return names
}
