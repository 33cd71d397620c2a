// Package monitoring holds the tests of deploy/components/monitoring by Prometheus' own code: its reader of rules, the parser of
// its language, and its engine, by which alerts fire or stay quiet.
package monitoring
