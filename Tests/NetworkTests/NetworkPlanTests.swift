import Netlink
import Testing

@testable import Network

@Suite("What a guest gets of a network namespace")
struct NetworkPlanTests {}
