/// Keys of VM templates and of the VM cache.
extension Keys {
    package static let enableTemplate = Key(
        "factory.enable_template", false,
        "Clone VMs from the VM template that kata-runtime factory init saves, if their settings are equal.")
    package static let templatePath = Key(
        "factory.template_path", .directory, "/run/vc/vm/template", "Directory of the VM template.")
    package static let cacheNumber = Key(
        "factory.vm_cache_number", 0, in: 0...1024,
        "Number of warm VMs that kata-runtime factory init keeps, each with its own shim; 0: use no VM cache.")
    package static let cacheEndpoint = Key(
        "factory.vm_cache_endpoint", .socket, "/var/run/kata-containers/cache.sock", "Socket of the VM cache server.")

    static let factoryKeys: [any AnyKey] = [enableTemplate, templatePath, cacheNumber, cacheEndpoint]
}
