/// The keys that a configuration may have.
package struct KeySet: Sendable {
    package let keys: [any AnyKey]

    /// - Parameter further: keys of what can be chosen: hypervisors and kinds of shares declare them in their rooms.
    package init(further: [any AnyKey] = []) {
        keys = Keys.hypervisorKeys + Keys.diskKeys + further + Keys.agentKeys + Keys.runtimeKeys + Keys.factoryKeys
    }

    /// The key of a path; nil if there is none.
    package subscript(path: String) -> (any AnyKey)? { keys.first { $0.path == path } }

    /// Each table once, in the order of declaration.
    package var tables: [String] {
        keys.reduce(into: []) { if !$0.contains($1.table) { $0.append($1.table) } }
    }

    /// The keys of a table, in the order of declaration.
    package func keys(of table: String) -> [any AnyKey] { keys.filter { $0.table == table } }
}
