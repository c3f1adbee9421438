extension Keys {
    /// Kata's other keys, by table. An existing configuration may have them; nothing reads them yet.
    package static let acceptedWithoutEffect: [String: [String]] = [
        "hypervisor.qemu.rootless_user": words("user_name groups"),
        "hypervisor.qemu": words(
            """
            ctlpath valid_ctlpaths jailer_path valid_jailer_paths
            kernel_verity_params firmware_volume overhead_vcpus default_bridges overhead_memory memory_offset
            virtio_fs_cache_size virtio_fs_is_dax
            enable_iothreads indep_iothreads queue_size num_queues
            disk_rate_limiter_bw_max_rate disk_rate_limiter_bw_one_time_burst disk_rate_limiter_ops_max_rate
            disk_rate_limiter_ops_one_time_burst net_rate_limiter_bw_max_rate net_rate_limiter_bw_one_time_burst
            net_rate_limiter_ops_max_rate net_rate_limiter_ops_one_time_burst enable_mem_prealloc
            enable_hugepages hugepage_type enable_vhost_user_store vhost_user_store_path valid_vhost_user_store_paths
            vhost_user_reconnect_timeout_sec enable_iommu enable_iommu_platform enable_numa numa_mapping file_mem_backend
            valid_file_mem_backends pflashes enable_swap hypervisor_loglevel log_level extra_monitor_socket disable_nesting_checks
            disable_nested_virtualization msize_9p use_vsock hotplug_vfio_on_root_bus hot_plug_vfio cold_plug_vfio
            pcie_switch_port rx_rate_limiter_max_rate tx_rate_limiter_max_rate
            guest_memory_dump_path guest_memory_dump_paging enable_guest_swap guest_swap_path guest_swap_size_percent
            guest_swap_create_threshold_secs use_legacy_serial disable_selinux selinux_label
            disable_seccomp confidential_guest sev_snp_guest snp_guest_policy snp_id_block snp_id_auth
            tdx_quote_generation_service_socket_port measurement_algo initdata default_gpus default_gpu_model remote_hypervisor_socket
            remote_hypervisor_timeout prefetch_list_path boot_to_be_template boot_from_template memory_path device_state_path
            seccomp_sandbox guest_extension_images
            """),
        "factory": words("template"),
        "proxy.kata": words("path enable_debug"), "shim.kata": words("path enable_debug enable_tracing"),
        "netmon": words("enable_netmon path enable_debug"),
        "agent.kata": words(
            """
            log_level enable_tracing trace_mode trace_type container_pipe_size dial_timeout_ms
            reconnect_timeout_ms server_port log_port passfd_listener_port health_check_request_timeout_ms create_container_timeout
            cdh_api_timeout cdh_api_timeout_ms launch_process_timeout visible_cdi_devices policy mem_agent
            """),
        "runtime": words(
            """
            log_level name hypervisor_name agent_name enable_vcpus_pinning
            guest_selinux_label enable_tracing jaeger_endpoint jaeger_user jaeger_password
            sandbox_bind_mounts vfio_mode disable_guest_empty_dir emptydir_mode experimental enable_pprof
            enable_agent_pidns dan_conf experimental_force_guest_pull kubelet_root_dir pod_resource_api_sock keep_abnormal shared_mounts
            use_passfd_io passfd_listener_port
            """),
    ]

    /// Tables of other hypervisors and of other tools. The reader skips them.
    static let otherHypervisorTables = [
        "hypervisor.clh", "hypervisor.firecracker", "hypervisor.acrn", "hypervisor.stratovirt", "hypervisor.dragonball",
        "hypervisor.remote", "image",
    ]

    private static func words(_ text: String) -> [String] {
        text.split(whereSeparator: \.isWhitespace).map(String.init)
    }
}
