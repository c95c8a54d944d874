"""What changes, when: synthetic meshes and the changes made to them.

mesh       services, endpoints, rules and the proxies in them, in two dialects
markers    the number of a change, written into the object and found in responses
arrivals   when changes happen; seeded chance
workload   a schedule: edits with their numbers, and which of two is the later one
plan       how a schedule is made: who runs where, the next number
days       what happens in a mesh on an ordinary day and on a bad one
istio      the cases of Istio's own benchmarks
workloads  all of them by name
apply      a directory of files, and a schedule played in real time
"""
